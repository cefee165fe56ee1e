import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { test } from 'node:test'

import { API, dir, Follower, freePort, login, migrateBoth, Refusal, start, startCloud, startGateway, until, warm } from './world.js'

async function startRedis(t, name) {
  const port = await freePort()
  const redis = start(t, `${name}-redis`, 'redis-server', [
    '--bind', '127.0.0.1', '--port', String(port), '--dir', dir(name), '--save', '', '--appendonly', 'no',
  ])
  await until('Redis is ready', async () => {
    if (!redis.running()) return true
    const socket = net.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.end('PING\r\n')
    const [reply] = await once(socket, 'data')
    return reply.toString().startsWith('+PONG')
  })
  return `redis://127.0.0.1:${port}/0`
}

async function assertMigrated(api, { operation, vm, host }) {
  const ended = await api.get(`/operations/${operation.id}?waitSeconds=30`)
  assert.equal(ended.state, 'SUCCEEDED', JSON.stringify(ended))
  assert.equal(ended.verb, 'migrate')
  assert.equal(ended.vm, vm)
  assert.ok(ended.endTime)
  assert.equal((await api.get(`/vms/${vm}`)).host.id, host)
}

const refusal = status => err => err instanceof Refusal && err.status === status

test('with Redis, kill -9 loses no session, no operation and no answer', async t => {
  const cloud = await startCloud(t, 'redis', 12)
  const gateway = await startGateway(t, 'redis', cloud, { store: await startRedis(t, 'redis') })
  const api = await login(gateway.url, cloud.backends)
  const stranger = new API(gateway.url)
  const [{ id, users }] = cloud.backends
  const { username, password } = users.at(-1)
  stranger.token = (await stranger.post('/sessions', { backend: id, username, password })).token
  const follower = await warm(t, api, (await api.vms()).vms)

  const keys = { one: randomUUID(), xen: randomUUID() }
  const begun = await migrateBoth(api, backend => ({ 'Idempotency-Key': keys[backend] }))
  await gateway.process.stop('SIGKILL')
  const from = follower.events.length
  await gateway.start()

  for (const one of begun) {
    const headers = { 'Idempotency-Key': keys[one.operation.backend] }
    const again = await api.call('POST', one.path, one.body, headers)
    assert.equal(again.status, 202)
    assert.equal(again.headers.get('Idempotency-Replayed'), 'true')
    assert.deepEqual(again.body, one.operation)
    await assert.rejects(api.call('POST', one.path, { ...one.body, live: false }, headers), refusal(422))
    await assert.rejects(stranger.get(`/operations/${one.operation.id}`), refusal(one.operation.backend === id ? 404 : 401))
  }
  for (const one of begun) await assertMigrated(api, one)
  const { operations } = await api.get('/operations')
  assert.deepEqual(operations.map(({ id, state }) => `${id} ${state}`).sort(), begun.map(({ operation }) => `${operation.id} SUCCEEDED`).sort())

  // The log of events began anew, which is told; then the stream goes on by itself.
  for (const backend of ['one', 'xen']) {
    await follower.find(`${backend} has to be read anew`, ({ type, data }) => type === 'resync' && data.backend === backend, from)
  }
  const [{ vm }] = begun
  await api.rename(vm, 'afterwards')
  await follower.sees(vm, 'afterwards', from)

  await api.call('DELETE', '/sessions/current')
  await gateway.process.stop('SIGKILL')
  await gateway.start()
  await assert.rejects(api.get('/sessions/current'), refusal(401))
})

test('with Redis, who only follows learns how an operation from before kill -9 ends', async t => {
  const cloud = await startCloud(t, 'stream', 12)
  const gateway = await startGateway(t, 'stream', cloud, { store: await startRedis(t, 'stream') })
  const api = await login(gateway.url, cloud.backends)
  const [{ operation }] = await migrateBoth(api) // at XenAPI it takes three seconds: many times a restart
  await gateway.process.stop('SIGKILL')
  await gateway.start()
  const follower = new Follower(t, gateway.url, api.token)
  await follower.find(`${operation.id} has ended`, ({ data }) => data.operation?.id === operation.id && data.operation.state === 'SUCCEEDED')
})

test('without a shared store, kill -9 loses the session, and an operation is found by its id', async t => {
  const cloud = await startCloud(t, 'memory', 12)
  const gateway = await startGateway(t, 'memory', cloud)
  const before = await login(gateway.url, cloud.backends)
  const begun = await migrateBoth(before)
  await gateway.process.stop('SIGKILL')
  await gateway.start()
  await assert.rejects(before.get('/sessions/current'), refusal(401))
  const api = await login(gateway.url, cloud.backends)
  for (const one of begun) await assertMigrated(api, one)
})

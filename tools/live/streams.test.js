import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  each, Follower, login, migrateBoth, places, Proxy, residentBytes, series, SlowReader, start, startCloud, startGateway, targetOf, until, warm,
} from './world.js'

/** Each event takes exactly one backend exactly one place further: none is lost, none comes twice. */
function assertGapless(follower, cursor) {
  let at = places(cursor)
  for (const { id, type, data } of follower.events) {
    assert.notEqual(type, 'resync', `${id}: the log reaches back, and still everything shall be read anew`)
    const next = places(id)
    const expected = { ...at, [data.backend]: { ...at[data.backend], seq: at[data.backend].seq + 1 } }
    assert.deepEqual(next, expected, `${type} after ${JSON.stringify(at)}`)
    at = next
  }
}

/** The numbers in a VM's names never go back. */
function assertInOrder(follower) {
  const newest = new Map()
  for (const { id, data } of follower.events) {
    const round = Number(/-round-(\d+)$/.exec(data.vm?.displayName)?.[1] ?? 0)
    if (!round) continue
    assert.ok(round >= (newest.get(data.vm.id) ?? 0), `${id}: ${data.vm.id} goes back to ${data.vm.displayName}`)
    newest.set(data.vm.id, round)
  }
}

test('a connection that is cut again and again loses nothing', async t => {
  const cloud = await startCloud(t, 'cuts', 24)
  const gateway = await startGateway(t, 'cuts', cloud)
  const api = await login(gateway.url, cloud.backends)
  await warm(t, api, (await api.vms()).vms)

  const { vms, cursor } = await api.vms()
  const random = series(7)
  const now = await Proxy.start(t, gateway) // cut by the clock, between events or within one
  const bytewise = await Proxy.start(t, gateway) // cut within the header, an id, the data
  bytewise.bytes = () => 100 + random(60_000)
  const few = await Proxy.start(t, gateway)
  few.bytes = () => 100 + random(4000)
  bytewise.retry = few.retry = 20
  const query = `cursor=${cursor}`
  const watched = [vms[0].id, vms.at(-1).id]
  const patient = new Follower(t, now.url, api.token, query)
  const hasty = [1, 2, 3].map(() => new Follower(t, bytewise.url, api.token, query))
  const picky = new Follower(t, few.url, api.token, `${query}&vm=${watched}&type=vm.changed`)

  const rounds = 10
  let cutting = true
  const cutter = (async () => {
    while (cutting) {
      await sleep(100 + random(900))
      now.cut()
    }
  })()
  for (let round = 1; round <= rounds; round++) {
    await each(vms, ({ id }) => api.rename(id, `vm-round-${round}`))
    await sleep(1000) // the client takes three seconds to come back: some rounds have to pass meanwhile
  }
  cutting = false
  await cutter
  bytewise.bytes = few.bytes = () => Infinity

  for (const { id } of vms) {
    for (const follower of [patient, ...hasty]) await follower.sees(id, `vm-round-${rounds}`)
  }
  for (const id of watched) await picky.sees(id, `vm-round-${rounds}`)
  for (const follower of [patient, ...hasty]) {
    assertGapless(follower, cursor)
    assertInOrder(follower)
  }
  assertInOrder(picky)
  for (const { id, type, data } of picky.events) {
    assert.equal(type, 'vm.changed', id)
    assert.ok(watched.includes(data.vm.id), id)
  }
  assert.equal(new Set(picky.events.map(({ id }) => id)).size, picky.events.length, 'an event came twice')
  assert.ok(patient.opened > 2, `cut ${patient.opened - 1} times only`)
  for (const follower of hasty) assert.ok(follower.opened > 5, `cut ${follower.opened - 1} times only`)
  t.diagnostic(`${vms.length * rounds} changes; connections: ${[patient, ...hasty, picky].map(f => f.opened)}`)
})

test('a client that is killed leaves nothing behind', async t => {
  const cloud = await startCloud(t, 'killed', 2)
  const gateway = await startGateway(t, 'killed', cloud)
  const api = await login(gateway.url, cloud.backends)
  const client = start(t, 'killed-client', process.execPath, [new URL('follower.js', import.meta.url).pathname, gateway.url, api.token])
  await until('the client follows', async () => await gateway.api.listeners() === 1 || !client.running())
  await client.stop('SIGKILL')
  await until('the gateway has noticed', async () => await gateway.api.listeners() === 0)
})

test('a backend that goes away is told of, and no change meanwhile is lost', async t => {
  const cloud = await startCloud(t, 'away', 12)
  const ways = {}
  for (const { id, endpoint } of cloud.backends) ways[id] = await Proxy.start(t, targetOf(endpoint))
  const endpoints = Object.fromEntries(cloud.backends.map(({ id, endpoint }) => [id, ways[id].url + new URL(endpoint).pathname]))
  const gateway = await startGateway(t, 'away', cloud, { endpoints, timeout: '4s' })
  const api = await login(gateway.url, cloud.backends)
  const { vms } = await cloud.api.vms()
  const follower = await warm(t, api, vms)
  const { cursor } = await api.vms()
  const late = new Follower(t, gateway.url, api.token, `cursor=${cursor}`)

  const outage = async (name, begin, end, gone = []) => {
    const from = follower.events.length
    const told = (type, backend) => follower.find(`${name}: ${type} of ${backend}`, e => e.type === type && e.data.backend === backend, from)
    for (const way of Object.values(ways)) begin(way)
    for (const id of Object.keys(ways)) await told('backend.down', id)
    await each(vms, ({ id }) => cloud.api.rename(id, name))
    for (const id of gone) await cloud.api.call('DELETE', `/vms/${id}`)
    for (const way of Object.values(ways)) await end(way)
    for (const id of Object.keys(ways)) await told('backend.up', id)
    for (const { id } of vms) await follower.sees(id, name, from)
    for (const id of gone) {
      await follower.find(`${id} is gone`, ({ type, data }) => type === 'vm.deleted' && data.id === id || data.vm?.id === id && data.vm.state === 'DELETED', from)
    }
    for (const id of Object.keys(ways)) {
      const health = follower.events.slice(from).filter(({ type, data }) => data.backend === id && type.startsWith('backend.'))
      assert.deepEqual(health.map(({ type }) => type), ['backend.down', 'backend.up'], `${name}: ${id}`)
    }
  }

  const gone = ['one', 'xen'].map(backend => {
    const at = vms.findIndex(({ id, state }) => id.startsWith(`${backend}.`) && state === 'STOPPED')
    assert.notEqual(at, -1, `${backend} has no VM that can be deleted`)
    return vms.splice(at, 1)[0].id
  })
  await outage('stopped', way => way.stop(), way => way.open(), gone)
  await outage('hanging', way => way.hold(), way => way.release())

  const from = follower.events.length
  for (const way of Object.values(ways)) way.cut()
  await each(vms, ({ id }) => cloud.api.rename(id, 'cut'))
  for (const { id } of vms) await follower.sees(id, 'cut', from)

  await until('the second has seen as much', () => late.last === follower.last)
  assertGapless(late, cursor)
  const fresh = await cloud.api.vms()
  const seen = new Map(late.events.filter(({ data }) => data.vm).map(({ data }) => [data.vm.id, data.vm.displayName]))
  for (const { id } of vms) assert.equal(seen.get(id), fresh.vms.find(vm => vm.id === id).displayName)
})

test('listeners that read a byte a second are cut off, hold nobody up, and go on', async t => {
  const cloud = await startCloud(t, 'slow', 12)
  const gateway = await startGateway(t, 'slow', cloud)
  const api = await login(gateway.url, cloud.backends)
  const { vms } = await api.vms()
  const follower = await warm(t, api, vms)
  const { cursor } = await api.vms()
  const from = follower.events.length

  // More than what a socket takes in, so that the gateway has to wait.
  const big = vms.filter(({ id }) => id.startsWith('xen.')).map(({ id }) => id)
  const text = 'x'.repeat(64 << 10)
  for (let round = 1; round <= 20; round++) {
    await each(big, id => api.call('PATCH', `/vms/${id}`, { displayName: `vm-round-${round}`, description: `${round} ${text}` }))
    for (const id of big) await follower.sees(id, `vm-round-${round}`, from) // so that each makes an event
  }
  const before = residentBytes(gateway.process.pid)

  const slow = Array.from({ length: 10 }, () => new SlowReader(t, gateway, api.token, cursor))
  for (const reader of slow) await until('the first events came', () => reader.id)
  await until('the gateway has noticed them', async () => await api.listeners() === slow.length + 1)
  let most = 0
  for (let n = 1; await api.listeners() > 1; n++) {
    assert.ok(n < 500, 'the slow ones are never cut off')
    await api.rename(big[n % big.length], `meanwhile-${n}`)
    await follower.sees(big[n % big.length], `meanwhile-${n}`)
    most = Math.max(most, residentBytes(gateway.process.pid))
    await sleep(100)
  }
  assert.ok(follower.opened === 1, 'the fast one was cut off, too')
  const backlog = 20 * big.length * text.length
  assert.ok(most - before < 2 * backlog, `${slow.length} slow readers cost ${(most - before) >> 20} MiB, with ${backlog >> 20} MiB to tell`)

  slow[0].stop()
  const resumed = new Follower(t, gateway.url, api.token, `cursor=${slow[0].id}`)
  await until('the slow one has caught up', () => resumed.last === follower.last)
  assertGapless(resumed, slow[0].id)
  assertInOrder(resumed)
  t.diagnostic(`${backlog >> 20} MiB behind; resident ${before >> 20} MiB, then ${most >> 20} MiB at most`)
})

test('SIGTERM ends open streams and waits, and the gateway', async t => {
  const cloud = await startCloud(t, 'sigterm', 12)
  const gateway = await startGateway(t, 'sigterm', cloud)
  const api = await login(gateway.url, cloud.backends)
  const followers = Array.from({ length: 20 }, () => new Follower(t, gateway.url, api.token))
  await until('all follow', () => followers.every(({ opened }) => opened === 1))
  await until('the gateway knows', async () => await api.listeners() === followers.length)
  const [{ operation }] = await migrateBoth(api)
  const waiting = api.get(`/operations/${operation.id}?waitSeconds=300`)
  await sleep(500) // until the request is there; the migration takes three seconds
  const begun = Date.now()
  assert.equal(await gateway.process.stop('SIGTERM'), 0)
  assert.ok(Date.now() - begun < 10_000, 'something held it up') // what is under way may take 20 s
  assert.equal((await waiting).id, operation.id)
})

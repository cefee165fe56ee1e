import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import process from 'node:process'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { ConnectionError, data, Gateway, MissingError, OperationError, plan, ProblemError } from 'vmgateway'

/** @import { TestContext } from 'node:test' */
/** @import { Listing, Operation } from 'vmgateway' */

// The gateway that tools/clients/check.sh has started, as it tells of itself.
/** @type {{ url: string, backends: { id: string, users: { username: string, password: string }[] }[] }} */
const demo = JSON.parse(readFileSync(process.env['DEMO_INFO'] ?? '', 'utf8'))

/**
 * @param {TestContext} t
 * @param {string} backend
 */
async function logIn(t, backend, url = demo.url) {
  const user = demo.backends.find(({ id }) => id === backend)?.users[0]
  assert.ok(user)
  const { username, password } = user
  const gateway = await Gateway.logIn(url, { backend, username, password })
  t.after(() => gateway.api.DELETE('/sessions/current'))
  return gateway
}

/** @param {Listing} listing */
async function idsOf(listing) {
  const ids = []
  for await (const { id } of listing) ids.push(id)
  assert.ok(listing.cursor)
  return ids.sort()
}

/** @param {string} code */
const withCode = code => (/** @type {unknown} */ error) => error instanceof ProblemError && error.code === code

for (const { id: backend } of demo.backends) {
  test(`pages and streams have the same VMs of ${backend}`, async t => {
    const gateway = await logIn(t, backend)
    const pages = await idsOf(gateway.vms({ pageSize: 3 }))
    assert.ok(pages.length > 3)
    assert.deepEqual(await idsOf(gateway.streamVms()), pages)
  })

  test(`a VM of ${backend} is moved`, async t => {
    const gateway = await logIn(t, backend)
    let vm
    for await (vm of gateway.vms({ filter: 'state="RUNNING"' })) break
    assert.ok(vm)
    const path = { vm: vm.id }
    const { hosts } = await data(gateway.api.GET('/hosts'))
    const host = hosts.find(({ id, state }) => id !== vm.host?.id && state === 'ENABLED')?.id ?? ''
    const planned = await plan(gateway.api.POST('/vms/{vm}:migrate', { params: { path, query: { validateOnly: true } }, body: { host } }))
    assert.ok(planned.allowed && planned.calls.length > 0)
    const ended = await gateway.wait(await data(gateway.api.POST('/vms/{vm}:migrate', { params: { path }, body: { host } })))
    assert.equal(ended.state, 'SUCCEEDED')
    assert.equal((await data(gateway.api.GET('/vms/{vm}', { params: { path } }))).host?.id, host)
  })
}

test('what is refused is thrown with its code', async t => {
  const gateway = await logIn(t, 'one')
  await assert.rejects(gateway.api.GET('/vms/{vm}', { params: { path: { vm: 'one.4000000000' } } }), withCode('NOT_FOUND'))
  await assert.rejects(gateway.api.GET('/vms', { params: { query: { filter: 'state=' } } }), /^ProblemError: INVALID_ARGUMENT: The parameter filter /)
  await assert.rejects(Gateway.logIn(demo.url, { backend: 'one', username: 'oneadmin', password: 'no' }), withCode('UNAUTHENTICATED'))
})

test('events outlive the connection, each once and in order', async t => {
  const direct = await logIn(t, 'xen')
  /** @type {Set<net.Socket>} */
  const sockets = new Set()
  const relay = net.createServer(near => {
    const far = net.connect(Number(new URL(demo.url).port), '127.0.0.1')
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}))
    near.pipe(far).pipe(near)
  }).listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const cut = () => sockets.forEach(socket => socket.destroy())
  t.after(() => {
    relay.close()
    cut()
  })
  const gateway = await logIn(t, 'xen', `http://127.0.0.1:${/** @type {net.AddressInfo} */ (relay.address()).port}`)
  const [vm = ''] = await idsOf(direct.vms())
  const rename = (/** @type {number} */ i) =>
    direct.api.PATCH('/vms/{vm}', { params: { path: { vm } }, body: { displayName: `named ${i}` } })

  const stream = await gateway.follow({ vm: [vm], type: ['vm.changed'] })
  let seen = 0
  await rename(0)
  for await (const { type, changed, vm } of stream) {
    assert.equal(type, 'vm.changed')
    if (!changed?.includes('displayName')) continue
    assert.equal(vm?.displayName, `named ${seen}`)
    if (++seen === 5) break
    cut()
    await rename(seen)
  }
  relay.close()
  const back = await logIn(t, 'xen')
  await rename(seen)
  for await (const { vm } of await back.follow({ ...stream.cursor && { cursor: stream.cursor } })) {
    assert.equal(vm?.displayName, `named ${seen}`)
    break
  }
  t.mock.method(gateway.api, 'DELETE', () => {}) // it cannot be reached any more
})

/** @typedef {(request: http.IncomingMessage, response: http.ServerResponse) => void} Answer */

/**
 * Answers one request after the other by hand.
 * @param {TestContext} t
 * @param {Answer[]} answers
 */
async function scripted(t, ...answers) {
  let at = 0
  const server = http.createServer((request, response) => {
    const answer = answers[at++]
    if (answer) answer(request, response)
    else response.writeHead(418).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
    assert.equal(at, answers.length)
  })
  return new Gateway(`http://127.0.0.1:${/** @type {net.AddressInfo} */ (server.address()).port}/`, { token: 'a-token' })
}

/**
 * @param {number} status
 * @param {string} type
 * @param {string} body
 * @param {http.OutgoingHttpHeaders} headers
 * @returns {Answer}
 */
const answer = (status, type, body, headers = {}) => (_, response) =>
  response.writeHead(status, { 'Content-Type': type, ...headers }).end(body)

/**
 * @param {number} status
 * @param {string} code
 * @param {boolean} retryable
 * @param {number} [after]
 */
const problem = (status, code, retryable, after) => answer(status, 'application/problem+json',
  JSON.stringify({ type: 'about:blank', title: 'No', status, code, retryable, requestId: '1' }), after ? { 'Retry-After': after } : {})

test('a call waits when it is told to, and not for ever', async t => {
  const gateway = await scripted(t,
    problem(429, 'RATE_LIMITED', true, 1),
    async (request, response) => {
      assert.equal(request.headers.authorization, 'Bearer a-token')
      const body = (await request.setEncoding('utf8').toArray()).join('')
      answer(202, 'application/json', JSON.stringify({ id: 'one.x', state: 'RUNNING', verb: body }))(request, response)
    },
    problem(429, 'RATE_LIMITED', true, 3600))
  const begun = await data(gateway.api.POST('/vms/{vm}:migrate', { params: { path: { vm: 'one.1' } }, body: { host: 'one.2' } }))
  assert.equal(begun.verb, '{"host":"one.2"}')
  await assert.rejects(gateway.api.GET('/backends'), { code: 'RATE_LIMITED', retryAfter: 3600_000 })
})

test('waiting outlasts what passes, and throws how an operation failed', async t => {
  const gateway = await scripted(t,
    problem(503, 'BACKEND_UNAVAILABLE', true, 1),
    answer(502, 'text/html', '<h1>Bad Gateway</h1>'),
    answer(200, 'application/json', JSON.stringify({
      id: 'one.x', verb: 'migrate', vm: 'one.1', state: 'FAILED',
      error: { type: 'about:blank', title: 'No', status: 502, code: 'BACKEND_FAULT', retryable: false, requestId: '1' },
    })),
    problem(404, 'NOT_FOUND', false))
  const begun = /** @type {Operation} */ ({ id: 'one.x', state: 'RUNNING' })
  await assert.rejects(gateway.wait(begun), (/** @type {OperationError} */ error) =>
    error instanceof OperationError && withCode('BACKEND_FAULT')(error.cause) &&
    error.message === 'migrate of one.1: FAILED: BACKEND_FAULT: No')
  await assert.rejects(gateway.wait(begun), withCode('NOT_FOUND'))
})

test('events go on behind the last whole block, also one without an event', async t => {
  const event = (/** @type {number} */ id, /** @type {string} */ type) =>
    `id: ${id}\nevent: ${type}\ndata: {"type":"${type}",\ndata: "backend":"é"}\n\n`
  /** @type {(want: string | undefined, next: Answer) => Answer} */
  const from = (want, next) => (request, response) => {
    assert.equal(request.headers['last-event-id'], want)
    assert.equal(request.url, '/events?vm=one.1,one.2&cursor=c')
    next(request, response)
  }
  const gateway = await scripted(t,
    from(undefined, answer(200, 'text/event-stream; charset=utf-8', `: following\nid: 1\n\n${event(2, 'backend.down')}id: 3\nevent: vm.changed\ndata: {"type"`)),
    from('2', problem(503, 'BACKEND_UNAVAILABLE', true, 1)),
    from('2', answer(200, 'text/event-stream', `${event(3, 'resync')}: alive\nid: 4\n\n`.replaceAll('\n', '\r\n'))),
    from('4', answer(200, 'text/event-stream', `${event(5, 'news')}id: 6\ndata: [\n\n`)))
  const stream = await gateway.follow({ vm: ['one.1', 'one.2'], cursor: 'c' })
  assert.equal(stream.cursor, '1')
  /** @type {string[]} */
  const seen = []
  await assert.rejects(async () => {
    for await (const { type, backend } of stream) seen.push(`${type} ${backend} ${stream.cursor}`)
  }, SyntaxError)
  assert.deepEqual(seen, ['backend.down é 2', 'resync é 3', 'news é 5'])
})

test('a stream ends with its signal', async t => {
  const gateway = await logIn(t, 'one')
  const stop = new AbortController()
  const stream = await gateway.follow({}, { signal: stop.signal })
  setImmediate(() => stop.abort())
  await assert.rejects(async () => {
    for await (const event of stream) assert.ok(event)
  }, { name: 'AbortError' })
})

test('answers that are none, or not whole, are errors', async t => {
  const line = '{"id":"one.1"}\n'
  const missing = { backend: 'xen', problem: { code: 'BACKEND_UNAVAILABLE', title: 'No' } }
  const gateway = await scripted(t,
    answer(200, 'text/html', '<h1>Log in</h1>'),
    answer(200, 'text/html', '<h1>Log in</h1>'),
    answer(200, 'application/x-ndjson', line),
    answer(200, 'application/x-ndjson', `${line}${JSON.stringify({ summary: { unreachable: [missing], undecodable: [], undecodableTotal: 0 } })}\n`))
  await assert.rejects(gateway.api.GET('/backends'), SyntaxError)
  await assert.rejects(gateway.follow(), /no stream of events/)
  /** @type {string[]} */
  const seen = []
  const read = async () => {
    for await (const { id } of gateway.streamVms()) seen.push(id)
  }
  await assert.rejects(read(), ConnectionError)
  await assert.rejects(read(), (/** @type {MissingError} */ error) =>
    error instanceof MissingError && error.unreachable[0]?.backend === 'xen')
  assert.deepEqual(seen, ['one.1', 'one.1'])
})

test('the token is not printed', () => {
  const gateway = new Gateway('http://127.0.0.1:1', { token: 'tell-nobody' })
  assert.doesNotMatch(inspect(gateway, { depth: 9, showHidden: true }) + JSON.stringify(gateway), /tell-nobody/)
})

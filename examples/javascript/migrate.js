// Moves one running VM to another host, and watches it happen.
//
//     GATEWAY_PASSWORD=opennebula node migrate.js http://127.0.0.1:8080 one oneadmin
//
// This is JavaScript that TypeScript checks against the contract: npm run client && npm run check
import process from 'node:process'

import { EventSourceParserStream } from 'eventsource-parser/stream'
import createClient from 'openapi-fetch'

/** @import { Client } from 'openapi-fetch' */
/** @import { components, operations, paths } from './gateway.js' */
/** @typedef {components['schemas']} Schemas */
/** @typedef {Client<paths, 'application/json'>} API */

// region login
/** A problem document, as every error of the gateway is one. Act on its code. */
class Refused extends Error {
  /** @param {Schemas['Problem']} problem */
  constructor(problem) {
    super(`${problem.code}: ${problem.detail ?? problem.title}`)
    this.problem = problem
  }
}

/**
 * Makes a client whose calls carry the token of a new session, and throw what the gateway refuses.
 * @param {string} baseUrl
 * @param {Schemas['Credentials']} credentials
 */
async function logIn(baseUrl, credentials) {
  /** @type {API} */
  const api = createClient({ baseUrl })
  let token = ''
  api.use({
    onRequest({ request }) {
      if (token) request.headers.set('Authorization', `Bearer ${token}`)
    },
    async onResponse({ response }) {
      if (!response.ok) throw new Refused(await response.json())
    },
  })
  const session = body(await api.POST('/sessions', { body: credentials }))
  token = session.token ?? ''
  return api
}

/**
 * The body of an answer; what was refused has been thrown before.
 * @template T
 * @param {{ data?: T }} reply
 * @returns {T}
 */
const body = reply => /** @type {T} */ (reply.data)
// endregion

// region list
/**
 * Every VM that fits the query, page by page.
 * @param {API} api
 * @param {NonNullable<operations['listVms']['parameters']['query']>} query
 */
async function* vms(api, query) {
  for (;;) {
    const page = body(await api.GET('/vms', { params: { query } }))
    for (const { backend, problem } of page.unreachable) { // the others are all there
      console.error(backend, 'is not in the list:', problem.title)
    }
    yield* page.vms
    if (page.nextPageToken === undefined) return
    query = { ...query, pageToken: page.nextPageToken }
  }
}
// endregion

// region migrate
/**
 * Moves a VM, live, and waits for the end.
 * @param {API} api
 * @param {string} vm
 * @param {string} host
 */
async function migrate(api, vm, host) {
  const operation = body(await api.POST('/vms/{vm}:migrate', {
    params: { path: { vm }, header: { Prefer: 'wait=60' } },
    body: { host },
  }))
  if (operation.state !== 'SUCCEEDED') { // that it failed is its own news, not an error of the call
    throw new Error(`${operation.state}: ${operation.error?.title ?? 'it goes on'}`)
  }
  return operation
}
// endregion

// region follow
/**
 * What happens to a VM, from the moment of the call on.
 * @param {API} api
 * @param {string} vm
 */
async function events(api, vm) {
  const { response } = await api.GET('/events', { params: { query: { vm: [vm] } }, parseAs: 'stream' })
  if (!response.body) throw new Error('there is no stream')
  return read(response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()))
}

/**
 * @param {ReadableStream<{ data: string }>} stream
 * @returns {AsyncGenerator<Schemas['Event']>}
 */
async function* read(stream) {
  for await (const { data } of stream) {
    if (data) yield JSON.parse(data)
  }
}
// endregion

/** @param {string[]} args */
async function main([url, backend, username]) {
  if (!url || !backend || !username) throw new Error('usage: GATEWAY_PASSWORD=… node migrate.js URL BACKEND USER')
  const api = await logIn(url, { backend, username, password: process.env['GATEWAY_PASSWORD'] ?? '' })
  try {
    const running = []
    for await (const vm of vms(api, { filter: 'state="RUNNING"', fields: 'displayName,host' })) {
      console.log('running:', vm.id, vm.displayName, 'on', vm.host?.displayName)
      running.push(vm)
    }
    const [vm] = running
    if (!vm) throw new Error('no VM is running')
    const { hosts } = body(await api.GET('/hosts', { params: { query: { backend: [backend] } } }))
    const host = hosts.find(({ id, state }) => id !== vm.host?.id && state === 'ENABLED')
    if (!host) throw new Error('there is no other host')

    const happening = await events(api, vm.id) // before anything is asked for, so that nothing is missed
    const done = await migrate(api, vm.id, host.id)
    console.log('migrated:', vm.id, 'to', host.displayName)
    for await (const { type, vm, changed, operation } of happening) {
      if (vm && changed) console.log('event:', type, vm.id, ...changed)
      if (!operation) continue
      console.log('event:', type, operation.verb, operation.state)
      if (operation.id === done.id && operation.state === 'SUCCEEDED') return
    }
    throw new Error('the stream has ended early')
  } finally {
    await api.DELETE('/sessions/current')
  }
}

await main(process.argv.slice(2)).catch(error => {
  console.error('migrate:', error.message)
  process.exitCode = 1
})

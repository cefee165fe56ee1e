// What the tests stand on: the processes under test, calls of the API, connections that can be cut,
// and a follower of events that takes note of all it is told.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { EventSource } from 'eventsource'

const patience = 40_000 // for what has to come at all; the whole run is bounded besides

/** Waits until probe gives something true, and gives that. What probe throws counts as not yet. */
export async function until(what, probe, ms = patience) {
  const end = Date.now() + ms
  for (let last; ; ) {
    try {
      const found = await probe()
      if (found) return found
    } catch (err) {
      last = err
    }
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`, { cause: last })
    await sleep(25)
  }
}

export const dir = name => mkdtempSync(join(process.env.LIVE_DIR, `${name}-`))

/** Starts a program that ends with the test, at the latest. What it says goes to a file. */
export function start(t, name, command, args) {
  const at = openSync(join(process.env.LIVE_DIR, `${name}.log`), 'a')
  const child = spawn(command, args, { stdio: ['ignore', at, at] })
  closeSync(at)
  const ended = once(child, 'exit')
  const running = () => child.exitCode === null && child.signalCode === null
  const stop = async signal => {
    if (running()) child.kill(signal)
    const [status] = await ended
    return status
  }
  t.after(() => stop('SIGKILL'))
  return { pid: child.pid, running, stop, signal: signal => child.kill(signal) }
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Both simulators, behind a gateway of their own: the way to them that is never disturbed. */
export async function startCloud(t, name, vms) {
  const info = join(dir(name), 'info.json')
  const process = start(t, `${name}-cloud`, gatewayBinary(), [
    '-demo', '-demo-vms', String(vms), '-demo-info', info, '-listen', '127.0.0.1:0', '-log-level', 'warn',
  ])
  await until('the simulators are ready', () => existsSync(info) || !process.running())
  const { url, backends } = JSON.parse(readFileSync(info, 'utf8'))
  return { process, url, backends, api: await login(url, backends) }
}

const gatewayBinary = () => process.env.GATEWAY

/** The gateway under test. endpoints overrides where it finds a backend; start() starts it again. */
export async function startGateway(t, name, cloud, { endpoints = {}, store = 'memory:', timeout = '60s' } = {}) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const file = join(dir(name), 'gateway.json') // JSON is YAML
  writeFileSync(file, JSON.stringify({
    listen: `127.0.0.1:${port}`,
    log: { level: 'warn' },
    logins: { perMinute: 1000 },
    store: { url: store },
    sessions: { sealingKey: randomBytes(32).toString('base64') },
    backends: cloud.backends.map(({ id, kind, endpoint }) => ({ id, kind, timeout, endpoints: [endpoints[id] ?? endpoint] })),
  }))
  const gateway = { url, port, api: new API(url) }
  gateway.start = async () => {
    gateway.process = start(t, name, gatewayBinary(), ['-config', file])
    await until('the gateway is ready', async () => (await fetch(`${url}/healthz`)).ok || !gateway.process.running())
  }
  await gateway.start()
  return gateway
}

/** Logs in at every backend, as the first of its users. */
export async function login(url, backends) {
  const api = new API(url)
  for (const { id, users: [{ username, password }] } of backends) {
    const body = { backend: id, username, password }
    if (api.token) await api.post('/sessions/current/logins', body)
    else api.token = (await api.post('/sessions', body)).token
  }
  return api
}

/** Calls of the REST API. A reply that is no success is thrown as a Refusal. */
export class API {
  constructor(url, token) {
    this.url = url
    this.token = token
  }

  async call(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(this.token && { Authorization: `Bearer ${this.token}` }),
        ...(body && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(patience),
    })
    const text = await response.text()
    if (!response.ok) throw new Refusal(`${method} ${path}: ${response.status} ${text}`, response.status)
    const json = response.headers.get('content-type')?.includes('json')
    return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text }
  }

  async get(path) {
    return (await this.call('GET', path)).body
  }

  async post(path, body, headers) {
    return (await this.call('POST', path, body, headers)).body
  }

  async rename(vm, displayName) {
    await this.call('PATCH', `/vms/${vm}`, { displayName })
  }

  /** All VMs, page by page, with the cursor of the first page. */
  async vms(query = 'fields=id,displayName,state') {
    const all = { vms: [], cursor: undefined }
    for (let page = ''; page !== undefined; ) {
      const list = await this.get(`/vms?pageSize=500&${query}${page && `&pageToken=${page}`}`)
      all.vms.push(...list.vms)
      all.cursor ??= list.cursor
      page = list.nextPageToken || undefined
    }
    return all
  }

  async listeners() {
    return Number(/^vmgateway_event_listeners (\d+)$/m.exec(await this.get('/metrics'))[1])
  }
}

export class Refusal extends Error {
  constructor(message, status) {
    super(message)
    this.status = status
  }
}

/** A TCP proxy in front of target ({port}) that breaks connections: now, or each after some bytes. */
export class Proxy {
  static async start(t, target) {
    const p = new Proxy(target)
    await p.open()
    t.after(() => p.stop())
    return p
  }

  constructor(target) {
    this.target = target
    this.port = 0
    this.pairs = new Set()
    this.cuts = 0
    this.bytes = () => Infinity // how many bytes of a reply get through before its connection is cut
    this.held = false
    this.retry = 0 // for streams of events: asks clients to come back after so many milliseconds
  }

  get url() {
    return `http://127.0.0.1:${this.port}`
  }

  async open() {
    this.server = net.createServer(client => this.join(client)).listen(this.port, '127.0.0.1')
    await once(this.server, 'listening')
    this.port = this.server.address().port
  }

  join(client) {
    const upstream = net.connect(this.target.port, '127.0.0.1')
    const pair = { client, upstream }
    this.pairs.add(pair)
    let left = this.bytes()
    let first = true
    const end = () => {
      client.destroy()
      upstream.destroy()
      this.pairs.delete(pair)
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    client.on('data', chunk => this.held || upstream.write(chunk))
    upstream.on('data', chunk => {
      if (this.held) return
      if (first && this.retry) chunk = askingForRetry(chunk, this.retry)
      first = false
      const part = chunk.subarray(0, left)
      left -= part.length
      if (left > 0) return client.write(part)
      this.cuts++
      client.end(part, end)
    })
  }

  cut() {
    for (const { client, upstream } of this.pairs) {
      this.cuts++
      client.destroy()
      upstream.destroy()
    }
  }

  /** Nobody listens any more, as after the end of a process. open() goes on at the same port. */
  async stop() {
    if (!this.server) return
    const closed = once(this.server, 'close')
    this.server.close()
    this.server = undefined
    this.cut()
    await closed
  }

  /** Takes connections and swallows all that comes, as when a host hangs. */
  hold() {
    this.held = true
  }

  release() {
    this.held = false
    this.cut()
  }
}

/** Puts one chunk more (RFC 9112, 7.1) behind the header of a reply. */
function askingForRetry(reply, ms) {
  const begin = reply.indexOf('\r\n\r\n') + 4
  if (begin < 4 || !reply.includes('text/event-stream')) return reply
  const line = `retry: ${ms}\n\n`
  return Buffer.concat([reply.subarray(0, begin), Buffer.from(`${line.length.toString(16)}\r\n${line}\r\n`), reply.subarray(begin)])
}

export const targetOf = url => ({ port: Number(new URL(url).port) })

/** Numbers that look random, and are the same in each run. */
export function series(seed) {
  return below => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed % below
  }
}

/** The places in a cursor: {one: {epoch, seq}, …}. */
export function places(cursor) {
  const all = {}
  for (const part of cursor.split('~')) {
    const [, backend, epoch, seq] = /^([a-z][a-z0-9-]*)\.([^-]+)-(\d+)$/.exec(part)
    all[backend] = { epoch, seq: Number(seq) }
  }
  return all
}

export const eventTypes = [
  'vm.created', 'vm.changed', 'vm.deleted', 'operation.changed', 'backend.down', 'backend.up', 'resync',
]

/** Follows events with the client as it is, and keeps each of them: {id, type, data}. */
export class Follower {
  constructor(t, url, token, query = '') {
    this.events = []
    this.opened = 0
    this.source = new EventSource(`${url}/events${query && `?${query}`}`, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
    })
    this.source.addEventListener('open', () => this.opened++)
    this.source.addEventListener('error', event => {
      if (event.code) this.refused = event // it does not come back from these
    })
    for (const type of eventTypes) {
      this.source.addEventListener(type, ({ lastEventId, data }) => {
        this.events.push({ id: lastEventId, type, data: JSON.parse(data) })
      })
    }
    t.after(() => this.source.close())
  }

  get last() {
    return this.events.at(-1)?.id
  }

  /** The first event that fits, from number `from` on. */
  async find(what, fits, from = 0) {
    return until(`an event tells that ${what}`, () => {
      if (this.refused) throw new Error(`the stream was refused: ${this.refused.code} ${this.refused.message}`)
      return this.events.slice(from).find(fits)
    })
  }

  async sees(vm, displayName, from = 0) {
    return this.find(`${vm} is called ${displayName}`, ({ data }) => data.vm?.id === vm && data.vm.displayName === displayName, from)
  }
}

/** Follows, and comes back once the gateway knows what there is: from then on each change is told. */
export async function warm(t, api, vms) {
  const follower = new Follower(t, api.url, api.token)
  for (const backend of ['one', 'xen']) {
    const vm = vms.find(({ id }) => id.startsWith(`${backend}.`)).id
    let n = 0
    await until(`${backend} is watched`, async () => {
      await api.rename(vm, `warm-${++n}`)
      return until('it shows', () => follower.events.some(({ data }) => data.vm?.id === vm), 3000)
    })
    await follower.sees(vm, `warm-${n}`)
  }
  return follower
}

/** Starts a migration at each backend, and gives {operation, vm, host} for both, while they run. */
export async function migrateBoth(api, headers = () => ({})) {
  const { vms } = await api.vms('fields=id,state,host')
  const { hosts } = await api.get('/hosts')
  const begun = []
  for (const backend of ['xen', 'one']) {
    const vm = vms.find(({ id, state, host }) => id.startsWith(`${backend}.`) && state === 'RUNNING' && host)
    const host = hosts.find(({ id }) => id.startsWith(`${backend}.`) && id !== vm.host.id)
    const body = { host: host.id, live: true }
    const { status, body: operation } = await api.call('POST', `/vms/${vm.id}:migrate`, body, headers(backend))
    assert.equal(status, 202)
    assert.equal(operation.state, 'RUNNING', 'it ended at once: nothing can be shown with it')
    begun.push({ operation, vm: vm.id, host: host.id, path: `/vms/${vm.id}:migrate`, body })
  }
  return begun
}

/** Does work for each item, some at a time. */
export async function each(items, work, atOnce = 4) {
  const rest = items.values()
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (const item of rest) await work(item)
  }))
}

/** A listener that reads its first events as they come, and then a byte a second. */
export class SlowReader {
  constructor(t, { port }, token, cursor) {
    this.id = undefined
    let text = ''
    this.socket = net.connect(port, '127.0.0.1', () => {
      this.socket.write(`GET /events?cursor=${cursor} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`)
    })
    this.socket.on('error', () => {}) // it is cut off: that is the point
    this.socket.on('data', chunk => {
      text += chunk.toString('latin1')
      // An event is whole once the next one has begun.
      this.id = /\nid: (\S+)\n(?:[^\n]+\n)+(?=\n[^]*\nid: )/.exec(text)?.[1]
      if (!this.id) return
      this.socket.removeAllListeners('data')
      this.socket.pause()
      this.timer = setInterval(() => this.socket.read(1), 1000)
    })
    t.after(() => this.stop())
  }

  stop() {
    clearInterval(this.timer)
    this.socket.destroy()
  }
}

export const residentBytes = pid => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024

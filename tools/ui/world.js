// What the tests stand on: a gateway with its simulators, a browser, and calls of the API beside it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import { join } from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { chromium } from 'playwright-core'

const patience = 30_000 // for what has to come at all; the whole run is bounded besides

const dir = process.env.UI_DIR

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
    await sleep(50)
  }
}

/** Starts the gateway's binary, and ends it with whatever asked for it. */
async function start(ending, args, ready) {
  const log = openSync(join(dir, 'gateways.log'), 'a')
  const child = spawn(process.env.GATEWAY, [...args, '-log-level', 'warn'], {
    stdio: ['ignore', log, log],
    env: { ...process.env, VMGATEWAY_LOGINS_PER_MINUTE: '1000' },
  })
  closeSync(log)
  const ended = once(child, 'exit')
  ending(async () => {
    child.kill('SIGTERM')
    await ended
  })
  await until('the gateway is ready', async () => await ready() || child.exitCode !== null)
}

/** A gateway with both simulators, for all tests of a file. */
export async function startDemo(vms) {
  const info = join(mkdtempSync(join(dir, 'demo-')), 'info.json')
  await start(after, ['-demo', '-demo-vms', String(vms), '-demo-info', info, '-listen', '127.0.0.1:0'], () => existsSync(info))
  return JSON.parse(readFileSync(info, 'utf8'))
}

/** Another gateway to the demo's simulators; endpoints overrides where it finds one of them. */
export async function startGateway(t, { backends }, endpoints) {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const listen = `127.0.0.1:${server.address().port}`
  server.close()
  const file = join(mkdtempSync(join(dir, 'gateway-')), 'gateway.json') // JSON is YAML
  writeFileSync(file, JSON.stringify({
    listen,
    backends: backends.map(({ id, kind, endpoint }) => ({ id, kind, timeout: '4s', endpoints: [endpoints[id] ?? endpoint] })),
  }))
  const url = `http://${listen}`
  await start(end => t.after(end), ['-config', file], async () => (await fetch(`${url}/healthz`)).ok)
  return { url, backends }
}

/** A way to a server that can be closed, with all that is on it, and opened again. */
export async function openGate(t, { url }) {
  const { port: target } = new URL(url)
  const sockets = new Set()
  let server, port = 0
  const gate = {
    async open() {
      server = net.createServer(client => {
        const upstream = net.connect(Number(target), '127.0.0.1')
        for (const socket of [client, upstream]) {
          sockets.add(socket)
          socket.on('error', () => {}).on('close', () => (client.destroy(), upstream.destroy(), sockets.delete(socket)))
        }
        client.pipe(upstream).pipe(client)
      }).listen(port, '127.0.0.1')
      await once(server, 'listening')
      port = server.address().port
      gate.url = `http://127.0.0.1:${port}`
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  await gate.open()
  t.after(() => gate.close())
  return gate
}

/** A way to a backend on which what it says is changed: edit gives other bytes, each as a character. */
export async function openBadWire(t, { endpoint }, edit) {
  const server = http.createServer(async (request, response) => {
    try {
      const headers = { 'Content-Type': request.headers['content-type'] }
      const answer = await fetch(endpoint, { method: 'POST', headers, body: Buffer.concat(await request.toArray()) })
      const said = Buffer.from(await answer.arrayBuffer()).toString('latin1')
      response.writeHead(answer.status, { 'Content-Type': answer.headers.get('content-type') })
      response.end(Buffer.from(edit(said), 'latin1'))
    } catch {
      response.destroy() // the backend is gone already, or the gateway is
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  return `http://127.0.0.1:${server.address().port}${new URL(endpoint).pathname}`
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', // root has no sandbox
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
})
after(() => browser.close())

/**
 * A page in a browser that knows nothing yet. What it should not do fails the test at its end: throw,
 * break the policy, load something from elsewhere. With UI_KEEP a picture of its end is kept.
 */
export async function openPage(t, { url }, { theme = 'light', width = 1440, height = 900 } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: 'reduce' })
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url })
  const page = await context.newPage()
  page.setDefaultTimeout(patience)
  const wrong = []
  watch(page, url, wrong)
  context.on('page', another => watch(another, url, wrong))
  t.after(async () => {
    if (process.env.UI_KEEP) await page.screenshot({ path: join(dir, `${t.name.replace(/\W+/g, '-')}.png`) }).catch(() => {})
    await context.close()
    assert.deepEqual(wrong, [])
  })
  return page
}

function watch(page, url, wrong) {
  page.on('pageerror', err => wrong.push(`thrown: ${err.stack}`))
  page.on('console', message => {
    const text = message.text()
    if (message.type() === 'error' && !text.startsWith('Failed to load resource')) wrong.push(`said: ${text}`)
  })
  page.on('request', request => request.url().startsWith(url) || request.url().startsWith('blob:') || wrong.push(`loaded ${request.url()}`))
}

const account = ({ backends }, backend, role) => {
  const { users } = backends.find(({ id }) => id === backend)
  return users.find(u => !role || u.role === role)
}

/** Fills the login form that is shown. */
export async function fillLogin(page, demo, backend, { role, password } = {}) {
  const user = account(demo, backend, role)
  const form = page.locator('form').filter({ has: page.getByLabel('Password') })
  await form.getByLabel('Backend').selectOption(backend)
  await form.getByLabel('User name').fill(user.username)
  await form.getByLabel('Password').fill(password ?? user.password)
  await form.getByRole('button', { name: 'Log in' }).click()
}

/** Logs the browser in at each of the backends without the form, as the first of the users or in a role. */
export async function logIn(page, demo, logins = { one: undefined, xen: undefined }) {
  let path = '/sessions?cookie=true'
  await page.goto(`${demo.url}/ui/icon.svg`)
  for (const [backend, role] of Object.entries(logins)) {
    const { username, password } = account(demo, backend, role)
    const status = await page.evaluate(async ({ path, body }) => (await fetch(path, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    })).status, { path, body: { backend, username, password } })
    assert.equal(status, 201)
    path = '/sessions/current/logins'
  }
}

/** Calls of the API by somebody else than the page. */
export async function client(demo) {
  let token
  const call = async (method, path, body) => {
    const response = await fetch(demo.url + path, {
      method,
      headers: { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': 'application/json' }) },
      body: body && JSON.stringify(body),
    })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`)
    return text && JSON.parse(text)
  }
  for (const { id, users: [{ username, password }] } of demo.backends) {
    const path = token ? '/sessions/current/logins' : '/sessions'
    token = (await call('POST', path, { backend: id, username, password })).token ?? token
  }
  return {
    call,
    find: async (filter, fields = 'id,displayName,state') =>
      (await call('GET', `/vms?pageSize=200&fields=${fields}&filter=${encodeURIComponent(filter)}`)).vms,
  }
}

/** Calls a backend of the demo past the gateway, as another client of its administrator's would. */
export async function callOpenNebula(demo, method, ...args) {
  const { endpoint } = demo.backends.find(b => b.id === 'one')
  const { username, password } = account(demo, 'one', 'admin')
  const text = s => s.replace(/[&<]/g, c => `&#${c.charCodeAt(0)};`)
  const kinds = { number: a => `<int>${a}</int>`, boolean: a => `<boolean>${Number(a)}</boolean>`, string: a => `<string>${text(a)}</string>` }
  const params = [`${username}:${password}`, ...args].map(a => kinds[typeof a](a))
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { 'Content-Type': 'text/xml' },
    body: `<methodCall><methodName>${method}</methodName><params>${params.map(p => `<param><value>${p}</value></param>`).join('')}</params></methodCall>`,
  })
  const reply = await response.text()
  assert.match(reply, /<boolean>1<\/boolean>/, `${method}: ${reply}`)
  return reply
}

/** Ends all sessions of a user at OpenNebula, as its administrator may. */
export const endLogins = (demo, role) => callOpenNebula(demo, 'one.user.login', account(demo, 'one', role).username, '', 0, -1)

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/**
 * Holds what the page shows against WCAG 2.2 AA, and axe's own best practices. What floats above the
 * page belongs to none of its landmarks, and the traps around it do not keep the focus but pass it on.
 */
export async function assertAccessible(page, where, { floating = false } = {}) {
  // Through the driver, since the console's own policy lets no foreign script in.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(floating => globalThis.axe.run(
    { exclude: ['[class^="__focus-trap"]'] },
    { resultTypes: ['violations'], rules: { region: { enabled: !floating } } },
  ), floating)
  const found = violations.flatMap(({ id, nodes }) => nodes.map(n => `${id}: ${n.target.join(' ')}: ${n.failureSummary}`))
  assert.deepEqual(found, [], where)
}

// session.js URL INFO [read]: a session with both backends of a demo, from the login to the logout, through
// Prism at URL. Prism holds each request and each reply against the contract, and names what does not
// fit in the header Sl-Violations. Every operation of the contract is called but GET /events, since
// Prism waits for the end of a body before it passes anything on.
//
// A reply with 501 cannot be seen through Prism either: it takes that as "not implemented yet", and
// answers with an example of the contract instead. So verbs that every release refuses are asked about
// in dry runs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const [url, info, part] = process.argv.slice(2)
const { backends } = JSON.parse(readFileSync(info, 'utf8'))
const users = Object.fromEntries(backends.map(({ id, users: [user] }) => [id, user]))

// Replies whose bodies Prism holds against the wrong thing. One of them that it gets right one day has
// to go from this list, or this check fails.
const misjudged = new Map([
  // It compares what is behind the + alone (wildcardMediaTypeMatch in prism-http), so that a plan is
  // taken for the application/json of the same status, and is "missing" the members of an operation.
  ['application/vnd.vmgateway.plan+json', 0],
  // It parses JSON only, and then finds that a text is no object.
  ['application/x-ndjson', 0],
  ['application/yaml', 0],
])

let token
const called = new Set() // METHOD PATH
const problems = []

/**
 * Calls the API. The reply must have one of the statuses and fit the contract, and so must the request,
 * unless it is sent to be refused.
 */
async function call(method, path, { body, headers = {}, expect = [200], as = 'application/json', refused = false } = {}) {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'Content-Type': as }),
      'Accept-Encoding': 'gzip', // else Prism asks for any coding, and gets one that it does not know
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(60_000),
  })
  const text = await response.text()
  const what = `${method} ${path} ${response.status}`
  const type = response.headers.get('Content-Type')?.split(';')[0]
  let asMeant = !refused
  for (const { location, message } of violations(response)) {
    if (refused && location[0] === 'request') asMeant = true
    else if (misjudged.has(type) && location.join('.').startsWith('response.body')) misjudged.set(type, misjudged.get(type) + 1)
    else problems.push(`${what}: ${location.join('.')}: ${message}`)
  }
  if (!asMeant) problems.push(`${what}: Prism finds nothing wrong with this request`)
  if (!expect.includes(response.status)) problems.push(`${what}: expected ${expect}: ${text.slice(0, 600)}`)
  called.add(`${method} ${path.split('?')[0]}`)
  return { response, text, json: /[/+]json$/.test(type) && text ? JSON.parse(text) : undefined }
}

/** What Prism has found: each with where it is and what. Of very many it only says that. */
function violations(response) {
  const found = response.headers.get('Sl-Violations') ?? '[]'
  return found.startsWith('[') ? JSON.parse(found) : [{ location: ['response', 'body'], message: found }]
}

const get = async (path, options) => (await call('GET', path, options)).json
const post = async (path, body, options) => (await call('POST', path, { body, ...options })).json

/** A verb, waited for to its end. */
async function act(vm, verb, body, expect = [200]) {
  const operation = await post(`/vms/${vm}:${verb}`, body, { expect, headers: { Prefer: 'wait=30' } })
  if (operation?.state && operation.verb) assert.equal(operation.state, 'SUCCEEDED', JSON.stringify(operation))
  return operation
}

/** A verb as a dry run, which is all that can be seen of what every release answers with 501. */
const plan = (vm, verb, body) => post(`/vms/${vm}:${verb}?validateOnly=true`, body)

/** The ids of the VMs that satisfy a filter: one at least. */
async function all(backend, filter) {
  const { vms } = await get(`/vms?${new URLSearchParams({ backend, filter, view: 'ID' })}`)
  assert.notEqual(vms.length, 0, `${backend} has a VM with ${filter}`)
  return vms.map(({ id }) => id)
}

async function elsewhere(backend, host) {
  const { hosts } = await get(`/hosts?backend=${backend}`)
  return hosts.find(({ id, state }) => id !== host?.id && state === 'ENABLED').id
}

async function logIn() {
  await get('/backends')
  await post('/sessions', { backend: 'one', username: 'nobody', password: 'wrong' }, { expect: [401] })
  await get('/vms', { expect: [401], refused: true })
  const one = { backend: 'one', username: users.one.username, password: users.one.password }
  const xen = { backend: 'xen', username: users.xen.username, password: users.xen.password }
  ;({ token } = await post('/sessions', one, { expect: [201] }))
  await post('/sessions/current/logins', xen, { expect: [201] })
  await call('DELETE', '/sessions/current/logins/xen', { expect: [200, 204] })
  await post('/sessions/current/logins', xen, { expect: [201] })
  await get('/sessions/current')
  await get('/backends')
}

async function read() {
  for (const view of ['ID', 'BASIC', 'FULL', 'NATIVE']) await get(`/vms?view=${view}`)
  await get('/vms?orderBy=displayName%20desc&pageSize=3&showTemplates=true&showDeleted=true')
  const { nextPageToken } = await get('/vms?pageSize=3')
  await get(`/vms?pageSize=3&pageToken=${encodeURIComponent(nextPageToken)}`)
  await get('/vms?filter=state%3D', { expect: [400] })
  await get('/vms?pageSize=many', { expect: [400], refused: true })
  for (const list of ['hosts', 'templates', 'images', 'storages', 'networks']) {
    const items = (await get(`/${list}`))[list]
    for (const backend of ['one', 'xen']) {
      const some = items.find(item => item.backend === backend)
      if (some) await get(`/${list}/${some.id}`)
    }
    await get(`/${list}/one.999999`, { expect: [404] })
  }
  for (const backend of ['one', 'xen']) {
    const [id] = await all(backend, 'state="RUNNING"')
    const { response } = await call('GET', `/vms/${id}`)
    await call('GET', `/vms/${id}`, { headers: { 'If-None-Match': response.headers.get('ETag') }, expect: [304] })
    await get(`/vms/${id}?view=NATIVE`)
    for (const part of ['disks', 'nics', 'consoles', 'metrics']) await get(`/vms/${id}/${part}`)
    if (backend === 'xen') {
      for (const part of ['guestMetrics', 'crashDumps', 'tpms', 'bootRecord', 'possibleHosts', 'disks:allowedDevices', 'nics:allowedDevices']) {
        await get(`/vms/${id}/${part}`, { expect: [200, 404] })
      }
    }
  }
  await get('/vms/one.999999', { expect: [404] })
  await get('/vms/nonsense', { expect: [404] })
}

async function switchOne(vm) {
  await plan(vm, 'start')
  await act(vm, 'suspend', undefined, [409])
  await act(vm, 'start')
  await act(vm, 'reboot', { mode: 'FORCE' })
  await act(vm, 'suspend')
  await act(vm, 'resume')
  await post(`/vms/${vm}:checkOperation`, { action: 'shutdown' })
  await act(vm, 'shutdown')
}

async function moveOne(vm) {
  const { host } = await get(`/vms/${vm}`)
  const other = await elsewhere('one', host)
  await act(vm, 'migrate', { host: other })
  await act(vm, 'migrate', { host: host.id, live: false, coldMode: 'POWEROFF' })
  await post(`/vms/${vm}:migrate`, { host: 2 }, { expect: [400], refused: true })
  await act(vm, 'terminate', { mode: 'FORCE' })
}

async function storeOne(vm) {
  await act(vm, 'stop')
  const host = await elsewhere('one')
  await act(vm, 'deploy', { host })
  await act(vm, 'undeploy')
  await act(vm, 'recreate', undefined, [200, 202])
}

async function changeOne(vm) {
  await act(vm, 'resize', { vcpus: 2, cpuShare: 0.5 })
  const { response } = await call('GET', `/vms/${vm}`)
  const as = 'application/merge-patch+json'
  const headers = { 'If-Match': response.headers.get('ETag') }
  await call('PATCH', `/vms/${vm}`, { body: { description: 'by Prism', annotations: { TEAM: 'web' } }, as, headers })
  await call('PATCH', `/vms/${vm}`, { body: { annotations: { TEAM: null } }, as, headers, expect: [412] })
  await call('PATCH', `/vms/${vm}`, { body: { nonsense: 1 }, as, expect: [400], refused: true })
  await post(`/vms/${vm}/disks/one.0:save`, { imageName: 'by-prism' }, { expect: [200, 202] })

  const key = { 'Idempotency-Key': `prism-${process.pid}` }
  const made = { displayName: 'prism-0', hold: true }
  const { result } = await post('/templates/one.0:instantiate', made, { headers: key, expect: [200, 202] })
  await post('/templates/one.0:instantiate', made, { headers: key, expect: [200, 202] })
  await post('/templates/one.0:instantiate', { ...made, hold: false }, { headers: key, expect: [422] })
  await act(result.vm, 'release', undefined, [200, 202])
  await act(result.vm, 'hold', undefined, [200, 202, 409]) // it may be placed already
  const failed = (await all('one', 'state="FAILED"'))[0]
  await act(failed, 'recover', { outcome: 'RETRY' }, [200, 202, 409])
  await call('DELETE', `/vms/${(await all('one', 'state="HELD"'))[0]}`, { expect: [200, 202] })
}

async function changeXen() {
  const vm = (await all('xen', 'state="STOPPED"'))[0]
  await plan(vm, 'start')
  await act(vm, 'start', { startPaused: true })
  await act(vm, 'unpause')
  await act(vm, 'pause')
  await act(vm, 'resume')
  const { host } = await get(`/vms/${vm}`)
  const other = await elsewhere('xen', host)
  await post(`/vms/${vm}:checkHost`, { host: other })
  await act(vm, 'migrate', { host: other })
  await post(`/vms/${vm}:refreshAllowedActions`)
  await post(`/vms/${vm}:checkOperation`, { action: 'shutdown' })
  await plan(vm, 'setVcpuParam', { key: 'weight', value: '256' })
  await plan(vm, 'sendSysrq', { key: 's' })
  await plan(vm, 'sendTrigger', { trigger: 'nmi' })
  await plan(vm, 'resetPowerState')
  await act(vm, 'suspend')
  await act(vm, 'resume')
  await act(vm, 'shutdown', { mode: 'FORCE' })
  await act(vm, 'clone', { displayName: 'prism-1' })
  const { id } = await post(`/vms/${vm}:copy`, { displayName: 'prism-2' }, { expect: [202] })
  await get(`/operations/${id}`)
  await post(`/operations/${id}:cancel`, undefined, { expect: [202, 409] })
  await get(`/operations/${id}?waitSeconds=30`)
  await get('/operations')
  await get('/operations/xen.nonsense', { expect: [404] })
  const [template] = (await get('/templates?backend=xen')).templates
  const { result } = await act(template.id, 'clone', { displayName: 'prism-3' })
  await act(result.vm, 'provision')
  await call('DELETE', `/vms/${result.vm}?deleteDisks=true`, { expect: [200, 202] })
  await post('/vms', { backend: 'xen', displayName: 'prism-4', memory: { staticMaxBytes: 1 << 28 }, cpu: { vcpus: 1 } }, { expect: [200, 201, 202, 400] })
}

async function serve() {
  for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.yaml', '/openapi.json', '/docs']) await call('GET', path)
  const lines = await call('GET', '/vms', { headers: { Accept: 'application/x-ndjson' } })
  assert.ok(lines.text.trimEnd().split('\n').at(-1).startsWith('{"summary":'), 'NDJSON ends with its summary')
}

/** The operations of the contract that no call has reached. */
function missed(contract) {
  const left = []
  for (const [path, item] of Object.entries(contract.paths)) {
    const pattern = new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/:]+')}$`)
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE'].filter(method => item[method.toLowerCase()])) {
      const reached = [...called].map(call => call.split(' ')).some(([m, p]) => m === method && pattern.test(p))
      if (!reached && path !== '/events') left.push(`${method} ${path}`)
    }
  }
  return left
}

async function change() {
  const [running, stopped] = [await all('one', 'state="RUNNING"'), await all('one', 'state="STOPPED"')]
  await Promise.all([
    switchOne(stopped[0]), changeOne(stopped[1]), moveOne(running[0]), storeOne(running[1]), changeXen(),
  ])
}

try {
  await logIn()
  await read()
  if (part !== 'read') {
    await change()
    await serve()
    const contract = await get('/openapi.json')
    await call('DELETE', '/sessions/current', { expect: [204] })
    for (const name of missed(contract)) problems.push(`${name} was not called`)
    for (const [type, times] of misjudged) if (times === 0) problems.push(`Prism misjudges ${type} no more`)
  }
} catch (error) {
  problems.push(error.stack) // behind what has led to it
}
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
console.log(`${called.size} different calls reach every operation of the contract but GET /events, and no violation is found`)

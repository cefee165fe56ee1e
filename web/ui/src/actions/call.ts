// A change, as one value: what is sent, what a dry run asks about, and what a person can copy as a
// curl command are the same thing.
import { type Operation, type Plan, Refusal, request, type VM } from '../api/client'
import type { Action } from './catalog'

export interface Call {
  method: 'POST' | 'PATCH' | 'DELETE'
  path: string
  query: Readonly<Record<string, string>>
  body: Readonly<Record<string, unknown>> | undefined
  /** Change the VM only if it is still this one. */
  etag?: string | undefined
}

export type Answer = { operation: Operation } | { vm: VM }

export type Values = Readonly<Record<string, unknown>>

/** The call of an action, with what its form says. */
export function callOf(action: Action, vm: string, values: Values = {}): Call {
  const { disk, ...rest } = values
  const args = { ...action.args, ...rest }
  const body = Object.keys(args).length > 0 ? args : undefined
  if (action.verb === 'delete') return { method: 'DELETE', path: `/vms/${vm}`, query: action.query, body: undefined }
  if (action.verb === 'saveDisk') return { method: 'POST', path: `/vms/${vm}/disks/${String(disk)}:save`, query: action.query, body }
  return { method: 'POST', path: `/vms/${vm}:${action.verb}`, query: action.query, body }
}

const contentType = (call: Call) => (call.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json')

function address(call: Call, more: Record<string, string> = {}) {
  const query = new URLSearchParams({ ...call.query, ...more }).toString()
  return call.path + (query && `?${query}`)
}

async function fetchJSON(call: Call, url: string, headers: Record<string, string>) {
  if (call.body) headers['Content-Type'] = contentType(call)
  if (call.etag) headers['If-Match'] = `"${call.etag}"`
  const response = await request(url, { method: call.method, headers, body: call.body ? JSON.stringify(call.body) : null })
  return (await response.json()) as unknown
}

/** Carries a change out. A POST whose answer was lost is sent again: its key makes that safe. */
export async function send(call: Call): Promise<Answer> {
  const headers: Record<string, string> = call.method === 'POST' ? { 'Idempotency-Key': crypto.randomUUID() } : {}
  let answer: unknown
  try {
    answer = await fetchJSON(call, address(call), headers)
  } catch (thrown) {
    if (call.method !== 'POST' || !(thrown instanceof Refusal) || thrown.problem.status !== 0) throw thrown
    answer = await fetchJSON(call, address(call), headers)
  }
  return 'verb' in (answer as object) ? { operation: answer as Operation } : { vm: answer as VM }
}

/** Asks what would go out to the backend, and whether it would be allowed. Changes nothing. */
export async function dryRun(call: Call): Promise<Plan> {
  return (await fetchJSON(call, address(call, { validateOnly: 'true' }), {})) as Plan
}

const quote = (text: string) => (/^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

/** The same as a command. It takes the token from the variable TOKEN: the page does not know it. */
export function curl(call: Call, origin = location.origin): string {
  const words = ['curl', '-X', call.method, quote(origin + address(call)), '-H', '"Authorization: Bearer $TOKEN"']
  if (call.etag) words.push('-H', quote(`If-Match: "${call.etag}"`))
  if (call.body) words.push('-H', quote(`Content-Type: ${contentType(call)}`), '-d', quote(JSON.stringify(call.body)))
  return words.join(' ')
}

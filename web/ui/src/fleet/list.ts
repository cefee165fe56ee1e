// Reads lists of VMs as streams: one VM a line, and at last what is missing.
import { cut, request, type Schemas, type VM } from '../api/client'

export type Summary = Schemas['VMSummary']

export interface ListQuery {
  fields: string
  backends?: readonly string[]
  filter?: string
}

/** Gives all VMs that query asks for to take, as they come. A stream without an end is a failure. */
export async function listVMs({ fields, backends, filter }: ListQuery, signal: AbortSignal, take: (vms: VM[]) => void): Promise<Summary> {
  const query = new URLSearchParams({ fields })
  if (backends) query.set('backend', backends.join())
  if (filter) query.set('filter', filter)
  const response = await request(`/vms?${query}`, { headers: { Accept: 'application/x-ndjson' }, signal, cache: 'no-store' })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  const read = lineReader()
  let summary: Summary | undefined
  for (;;) {
    const { done, value } = await reader.read().catch((thrown: unknown) => {
      throw signal.aborted ? thrown : cut()
    })
    if (done) break
    const vms: VM[] = []
    for (const line of read(value)) {
      const item = JSON.parse(line) as Schemas['VMLine']
      if ('summary' in item) summary = item.summary
      else vms.push(item)
    }
    if (vms.length > 0) take(vms)
  }
  if (!summary) throw cut()
  return summary
}

/** Cuts text into lines, wherever it was torn. What has no end yet waits for it. */
export function lineReader(): (text: string) => string[] {
  let rest = ''
  return text => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    return lines.filter(line => line !== '')
  }
}

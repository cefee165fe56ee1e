// Reads lists of VMs, page by page.
import { api, body, type Schemas, type Undecodable, type Unreachable, type VM } from '../api/client'

type Query = NonNullable<NonNullable<Parameters<typeof readPage>[0]>>

export interface Summary {
  unreachable: Unreachable[]
  undecodable: Undecodable[]
}

const readPage = (query: { fields: string; filter?: string; backend?: string[]; pageToken?: string; owner?: string }, signal: AbortSignal): Promise<Schemas['VMList']> =>
  body(api.GET('/vms', { params: { query: { pageSize: 1000, ...query } }, signal }))

/** Gives all VMs that query asks for to take, as they come, and what was wrong with the rest. */
export async function listVMs(query: Omit<Query, 'pageToken'>, signal: AbortSignal, take: (vms: VM[]) => void): Promise<Summary> {
  const unreachable = new Map<string, Unreachable>()
  const undecodable: Undecodable[] = []
  let pageToken: string | undefined
  do {
    const page = await readPage(pageToken ? { ...query, pageToken } : query, signal)
    take(page.vms)
    for (const missing of page.unreachable) unreachable.set(missing.backend, missing)
    undecodable.push(...page.undecodable)
    pageToken = page.nextPageToken
  } while (pageToken)
  return { unreachable: [...unreachable.values()], undecodable }
}

// The API, typed from the contract, and what comes back instead of an answer.
import createClient, { type Middleware } from 'openapi-fetch'

import type { components, paths } from './schema'

export type Schemas = components['schemas']
export type Backend = Schemas['Backend']
export type Host = Schemas['Host']
export type Operation = Schemas['Operation']
export type Plan = Schemas['Plan']
export type Problem = Schemas['Problem']
export type Session = Schemas['Session']
export type State = Schemas['State']
export type Unreachable = Schemas['Unreachable']
export type Undecodable = Schemas['Undecodable']
export type Verb = Schemas['Verb']
export type VM = Schemas['VM']

/** What the gateway said instead of an answer, or that it said nothing. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail ?? problem.title)
    this.name = 'Refusal'
  }
}

const silence: Problem = {
  type: 'about:blank',
  title: 'The gateway does not answer',
  status: 0,
  detail: 'The gateway could not be reached. It may have been restarted, or the network is down.',
  code: 'BACKEND_UNAVAILABLE',
  retryable: true,
  requestId: '',
}

/** A stream that ended before its last line. */
export const cut = () =>
  new Refusal({
    ...silence,
    title: 'The list was cut off',
    detail: 'The connection broke before the list was whole. What is shown is only a part of it.',
  })

/** Makes a Problem of whatever was thrown, to be shown. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Refusal) return thrown.problem
  return { ...silence, title: 'Something went wrong in this page', detail: String(thrown) }
}

export const isAbort = (thrown: unknown) => thrown instanceof DOMException && thrown.name === 'AbortError'

type Listener = (problem: Problem) => void
const endings = new Set<Listener>()

/** Calls listener whenever the gateway says that a login has ended. */
export function onLoginEnded(listener: Listener): () => void {
  endings.add(listener)
  return () => endings.delete(listener)
}

/** Reads a reply that is no success, and tells those who listen that a login has ended. */
export async function refusalOf(response: Response, tell = true): Promise<Refusal> {
  let problem: Problem
  try {
    problem = (await response.json()) as Problem
  } catch {
    problem = {
      ...silence,
      title: 'The answer cannot be read',
      status: response.status,
      detail: `The server answered ${response.status}, without a problem document.`,
    }
  }
  const ended = problem.code === 'UNAUTHENTICATED' || problem.code === 'BACKEND_SESSION_ENDED'
  if (tell && ended) endings.forEach(listener => listener(problem))
  return new Refusal(problem)
}

/** fetch, with every failure as a Refusal. A request that was given up stays an AbortError. */
export async function request(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(input, init)
  } catch (thrown) {
    if (isAbort(thrown)) throw thrown
    throw new Refusal(silence)
  }
  if (!response.ok) throw await refusalOf(response)
  return response
}

const refuse: Middleware = {
  async onResponse({ response, request }) {
    if (response.ok) return
    // What /sessions says is for its caller: a wrong password is no login that has ended.
    throw await refusalOf(response, !new URL(request.url).pathname.startsWith('/sessions'))
  },
  onError({ error }) {
    return isAbort(error) ? (error as DOMException) : new Refusal(silence)
  },
}

export const api = createClient<paths>({
  querySerializer: { array: { style: 'form', explode: false } },
})
api.use(refuse)

/** The body of a successful call. Calls that fail have thrown a Refusal. */
export async function body<T>(call: Promise<{ data?: T }>): Promise<NonNullable<T>> {
  const { data } = await call
  return data as NonNullable<T>
}

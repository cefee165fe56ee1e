/**
 * A client of the VM gateway. Paths, parameters, bodies and answers are those of the contract, which
 * `schema.d.ts` is generated from; what a generator cannot do is here: a session, errors with their code,
 * the end of an operation, lists of any length, and events that miss nothing.
 */
import createClient, { type Client } from 'openapi-fetch'

import type {
  Code, Credentials, Event, Operation, operations, paths, Plan, Problem, Undecodable, Unreachable, VM, VMSummary,
} from '../schema.js'

export type * from '../schema.js'

export type ListQuery = NonNullable<operations['listVms']['parameters']['query']>
export type StreamQuery = Omit<ListQuery, 'orderBy' | 'pageSize' | 'pageToken' | 'pretty'>
export type EventsQuery = NonNullable<operations['streamEvents']['parameters']['query']>

export interface Options {
  /** The token of a session that exists. Without one, a page's cookie counts. */
  token?: string
  /** Makes the requests instead of the platform's fetch. */
  fetch?: (request: Request) => Promise<Response>
}

/** How long a call waits in all when the gateway says, by 429, to come back later. Such a call was not carried out. */
const patience = 60_000
/** How long nothing may come from a stream of events, which has a heartbeat every 15 seconds. */
const silence = 45_000
/** The longest wait between two attempts, unless Retry-After says more. */
const maxBackoff = 30_000
/** How long one read of an operation waits for its end, in seconds. */
const waitSeconds = 60

/**
 * An answer that is no success: nearly always a problem document of the gateway. One of a proxy in between
 * has a status, and no code.
 */
export class ProblemError extends Error {
  readonly status: number
  readonly code: Code | undefined
  readonly problem: Problem | undefined
  /** How long to wait, in milliseconds, if that was said. */
  readonly retryAfter: number | undefined

  constructor(status: number, problem: Problem | undefined, retryAfter?: number) {
    super(problem ? textOf(problem) : `HTTP ${status}`)
    this.name = 'ProblemError'
    this.status = status
    this.code = problem?.code
    this.problem = problem
    this.retryAfter = retryAfter
  }
}

/** The gateway could not be reached, or the connection was lost. */
export class ConnectionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ConnectionError'
  }
}

/** An operation that has ended, but not as SUCCEEDED. Its cause, if the gateway says why, is a ProblemError. */
export class OperationError extends Error {
  readonly operation: Operation

  constructor(operation: Operation) {
    const { verb, vm, state, error } = operation
    super(`${verb}${vm ? ` of ${vm}` : ''}: ${state}${error ? `: ${textOf(error)}` : ''}`,
      error && { cause: new ProblemError(error.status, error) })
    this.name = 'OperationError'
    this.operation = operation
  }
}

/** All VMs of a list have come, except for what this names. */
export class MissingError extends Error {
  readonly unreachable: Unreachable[]
  /** 100 for each page at most. */
  readonly undecodable: Undecodable[]
  readonly undecodableTotal: number

  constructor(unreachable: Unreachable[], undecodable: Undecodable[], undecodableTotal: number) {
    super(`the list is not complete: ${[
      ...unreachable.map(({ backend, problem }) => `${backend}: ${textOf(problem)}`),
      ...undecodableTotal > 0 ? [`VMs that cannot be read: ${undecodableTotal}`] : [],
    ].join('; ')}`)
    this.name = 'MissingError'
    this.unreachable = unreachable
    this.undecodable = undecodable
    this.undecodableTotal = undecodableTotal
  }
}

const textOf = ({ code, title, detail }: Problem): string => `${code}: ${detail ?? title}`

/** The body of an answer; what the gateway refuses has been thrown: `await data(gateway.api.GET('/backends'))`. */
export async function data<T>(reply: Promise<{ data?: T }>): Promise<T> {
  return (await reply).data as T
}

/** The answer to a call with `validateOnly: true`, which changes nothing. */
export async function plan(reply: Promise<{ data?: unknown }>): Promise<Plan> {
  return (await reply).data as Plan
}

/** One session at a gateway. */
export class Gateway {
  /** Each call of the contract, by method and path. What is no success is thrown, as a ProblemError. */
  readonly api: Client<paths, 'application/json'>
  readonly #fetch: (request: Request) => Promise<Response>
  #token: string | undefined

  /** @param url such as https://gateway.example.org; in a page of the gateway's own, '' */
  constructor(url: string, { token, fetch = request => globalThis.fetch(request) }: Options = {}) {
    this.#token = token
    this.#fetch = fetch
    this.api = createClient<paths, 'application/json'>({
      baseUrl: url.replace(/\/$/, ''),
      querySerializer: { array: { style: 'form', explode: false } },
      fetch: request => this.#send(request),
    })
  }

  /** Begins a session. `DELETE /sessions/current` ends it; `POST /sessions/current/logins` adds another backend. */
  static async logIn(url: string, credentials: Credentials, options: Options = {}): Promise<Gateway> {
    const gateway = new Gateway(url, options)
    const { token } = await data(gateway.api.POST('/sessions', { body: credentials }))
    if (token === undefined) throw new Error('the gateway gave no token')
    gateway.#token = token
    return gateway
  }

  /**
   * The operation as it has ended. An end that is not SUCCEEDED is thrown, as an OperationError. What may
   * pass, such as a backend that cannot be reached, does not end the wait.
   */
  async wait(operation: Operation, { signal }: { signal?: AbortSignal } = {}): Promise<Operation> {
    for (let failures = 0; operation.state === 'RUNNING';) {
      try {
        operation = await data(this.api.GET('/operations/{operation}', {
          params: { path: { operation: operation.id }, query: { waitSeconds } }, ...signal && { signal },
        }))
        failures = 0
      } catch (error) {
        if (!transient(error)) throw error
        await sleep(backoff(failures++, error), signal)
      }
    }
    if (operation.state !== 'SUCCEEDED') throw new OperationError(operation)
    return operation
  }

  /** All VMs that fit, page by page, each when the caller comes to it. */
  vms(query: ListQuery = {}, { signal }: { signal?: AbortSignal } = {}): Listing {
    const { api } = this
    return new Listing(async function* (listing) {
      const unreachable = new Map<string, Unreachable>() // pages may name the same again
      const undecodable: Undecodable[] = []
      let total = 0
      let pageToken = query.pageToken
      for (let first = true; first || pageToken !== undefined; first = false) {
        const page = await data(api.GET('/vms', {
          params: { query: { ...query, ...pageToken !== undefined && { pageToken } } }, ...signal && { signal },
        }))
        if (first) listing.cursor = page.cursor // what changes while the others are read is told behind it
        for (const missing of page.unreachable) unreachable.set(missing.backend, missing)
        undecodable.push(...page.undecodable.filter(({ id }) => id === undefined || !undecodable.some(known => known.id === id)))
        total = Math.max(total, page.undecodableTotal, undecodable.length)
        yield* page.vms
        pageToken = page.nextPageToken
      }
      return { unreachable: [...unreachable.values()], undecodable, undecodableTotal: total }
    })
  }

  /**
   * All VMs that fit in one call, as the backends send them: the fastest for very many. It takes no order and
   * no pages; whoever lets it wait for 30 seconds is cut off, which is an error.
   */
  streamVms(query: StreamQuery = {}, { signal }: { signal?: AbortSignal } = {}): Listing {
    const { api } = this
    return new Listing(async function* (listing) {
      const { response } = await api.GET('/vms', {
        params: { query }, headers: { Accept: 'application/x-ndjson' }, parseAs: 'stream', ...signal && { signal },
      })
      for await (const line of lines(response)) {
        const { summary, ...vm } = JSON.parse(line) as VM & { summary?: VMSummary }
        if (!summary) {
          yield vm
          continue
        }
        listing.cursor = summary.cursor
        return summary
      }
      throw new ConnectionError('the stream of VMs was cut') // the last line is the summary
    })
  }

  /**
   * The stream of events. It answers when the stream stands: nothing that happens from then on is missed, and
   * nothing since `cursor`, if there is one.
   */
  async follow(query: EventsQuery = {}, { signal }: { signal?: AbortSignal } = {}): Promise<Stream> {
    const stream = new Stream((lastEventId, ending) => this.api.GET('/events', {
      params: { query, header: lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId } },
      parseAs: 'stream',
      signal: ending,
    }).then(({ response }) => response), signal)
    await stream.open()
    return stream
  }

  async #send(request: Request): Promise<Response> {
    if (this.#token !== undefined) request.headers.set('Authorization', `Bearer ${this.#token}`)
    for (let left = patience; ;) {
      let response
      try {
        response = await this.#fetch(request.clone())
      } catch (error) {
        request.signal.throwIfAborted()
        throw new ConnectionError(`${request.method} ${new URL(request.url).pathname}: the gateway cannot be reached`, { cause: error })
      }
      if (response.ok) return response
      const refusal = await refused(response)
      if (refusal.status !== 429 || refusal.retryAfter === undefined || refusal.retryAfter > left) throw refusal
      left -= refusal.retryAfter
      await sleep(refusal.retryAfter, request.signal)
    }
  }
}

async function refused(response: Response): Promise<ProblemError> {
  const seconds = Number.parseInt(response.headers.get('Retry-After') ?? '', 10)
  let problem: Problem | undefined
  if (mediaType(response) === 'application/problem+json') {
    try {
      problem = await response.json() as Problem
    } catch {
      // The status is all that is left of an answer that was cut.
    }
  }
  return new ProblemError(response.status, problem, seconds > 0 ? seconds * 1000 : undefined)
}

const mediaType = (response: Response): string => (response.headers.get('Content-Type') ?? '').split(';', 1)[0]!.trim()

/** Whether the same request may succeed later: the gateway says so, or it cannot be reached. */
function transient(error: unknown): boolean {
  if (error instanceof ProblemError) return error.problem ? error.problem.retryable : error.status >= 500
  return error instanceof ConnectionError
}

/** How long to wait after so many failures in a row: longer each time, and not as long as all the others. */
function backoff(failures: number, error: unknown): number {
  const wait = Math.min(1000 * 2 ** failures, maxBackoff) * (0.5 + Math.random() / 2)
  return Math.max(wait, (error instanceof ProblemError && error.retryAfter) || 0)
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** The whole lines of an answer, as they come. What a lost connection cuts short is left out. */
async function* lines(response: Response, onRead: () => void = () => {}): AsyncGenerator<string, void> {
  if (!response.body) return
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  try {
    for (let rest = ''; ;) {
      const { done, value } = await reader.read().catch(error => {
        throw error instanceof TypeError ? new ConnectionError('the connection was lost', { cause: error }) : error
      })
      if (done) return
      onRead()
      const parts = (rest + decoder.decode(value, { stream: true })).split('\n')
      rest = parts.pop()!
      yield* parts
    }
  } finally {
    await reader.cancel().catch(() => {}) // it was lost before
  }
}

type Missing = Pick<VMSummary, 'unreachable' | 'undecodable' | 'undecodableTotal'>

/** A list of VMs, however many. It is read once. If something is missing, a MissingError comes last. */
export class Listing implements AsyncIterable<VM> {
  /** Once all have come: from where `follow` goes on without a gap. */
  cursor: string | undefined
  readonly #read: (listing: Listing) => AsyncGenerator<VM, Missing>

  constructor(read: (listing: Listing) => AsyncGenerator<VM, Missing>) {
    this.#read = read
  }

  async* [Symbol.asyncIterator](): AsyncGenerator<VM, void> {
    const { unreachable, undecodable, undecodableTotal } = yield* this.#read(this)
    if (unreachable.length > 0 || undecodableTotal > 0) throw new MissingError(unreachable, undecodable, undecodableTotal)
  }
}

/**
 * What happens, as it happens. When the connection is lost, the events go on behind the last one, as often as
 * it takes. One of the type `resync` says that the gateway can no longer tell all: read the VMs of its backend
 * anew, and go on. They end with an error: the signal's, or the gateway's when it lets nobody come back, as
 * at the end of the session. Who leaves the loop closes the stream.
 */
export class Stream implements AsyncIterable<Event> {
  /** Where the stream stands: behind the last event. Another one goes on there with it. */
  cursor: string | undefined
  readonly #connect: (lastEventId: string | undefined, ending: AbortSignal) => Promise<Response>
  readonly #closing = new AbortController()
  readonly #ending: AbortSignal
  #blocks: AsyncGenerator<Event | undefined, void> | undefined
  #first: Event | undefined

  constructor(connect: (lastEventId: string | undefined, ending: AbortSignal) => Promise<Response>, signal?: AbortSignal) {
    this.#connect = connect
    this.#ending = signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal
  }

  /** Ends the stream. */
  close(): void {
    this.#closing.abort()
  }

  /** Connects, and reads up to where the stream stands. `follow` has done so. */
  async open(): Promise<void> {
    const cut = new AbortController()
    const blocks = this.#read(cut)
    const first = await blocks.next()
    if (first.done) throw new ConnectionError('the stream of events was lost')
    this.#first = first.value
    this.#blocks = blocks
  }

  async* [Symbol.asyncIterator](): AsyncGenerator<Event, void> {
    try {
      for (let failures = 0; ;) {
        try {
          if (!this.#blocks) await this.open()
          if (this.#first) {
            const event = this.#first
            this.#first = undefined
            yield event
          }
          for await (const event of this.#blocks!) {
            failures = 0
            if (event) yield event
          }
          throw new ConnectionError('the stream of events was lost')
        } catch (error) {
          if (!transient(error)) throw error
          this.#blocks = undefined
          await sleep(backoff(failures++, error), this.#ending)
        }
      }
    } finally {
      this.close()
    }
  }

  /** The blocks of one connection: an event, or undefined for a heartbeat. */
  async* #read(cut: AbortController): AsyncGenerator<Event | undefined, void> {
    let timer = setTimeout(() => cut.abort(), silence)
    try {
      const response = await this.#connect(this.cursor, AbortSignal.any([cut.signal, this.#ending]))
      if (mediaType(response) !== 'text/event-stream') throw new Error('the answer is no stream of events')
      let id: string | undefined
      let text = ''
      const alive = () => {
        clearTimeout(timer)
        timer = setTimeout(() => cut.abort(), silence)
      }
      for await (const line of lines(response, alive)) {
        const [, field, value] = /^([^:\r]*)(?:: ?([^\r]*))?/.exec(line)!
        if (field === 'id') id = value ?? ''
        if (field === 'data') text += `${value ?? ''}\n`
        if (line !== '' && line !== '\r') continue
        if (id !== undefined) this.cursor = id // also of a heartbeat, which has come past what was not asked for
        yield text ? JSON.parse(text) as Event : undefined
        id = undefined
        text = ''
      }
    } catch (error) {
      this.#ending.throwIfAborted()
      throw cut.signal.aborted ? new ConnectionError('the stream of events was silent') : error
    } finally {
      clearTimeout(timer)
      cut.abort()
    }
  }
}

// Server-sent events over fetch. EventSource would do, but it hides the heartbeat, so that a
// connection which died without a word looks alive, and it hides why it was refused.
import { isAbort, Refusal, request, type Schemas } from '../api/client'

export type Event = Schemas['Event']

export interface Block {
  id?: string
  data?: string
}

/** Cuts a stream of text into blocks, wherever the text was torn. */
export function blockReader(take: (block: Block) => void): (text: string) => void {
  let rest = ''
  let block: Block = {}
  return text => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line === '') {
        take(block)
        block = {}
      } else if (line.startsWith('id: ')) block.id = line.slice(4)
      else if (line.startsWith('data: ')) block.data = (block.data === undefined ? '' : `${block.data}\n`) + line.slice(6)
    }
  }
}

export type Connection = 'connecting' | 'live' | 'asleep' | 'lost' | 'ended'

interface Follower {
  onEvent(event: Event): void
  onConnection(state: Connection): void
  /** The stream is there: nothing that happens from now on is missed. */
  onFollowing(): void
}

const silentFor = 40_000 // the gateway says something every 15 s
const sleepAfter = 60_000

/**
 * Follows the fleet's events until signal ends it: comes back after a cut with the id of the last
 * event, and lets go of the connection while nobody looks, since a browser has few for one server.
 */
export async function follow(follower: Follower, signal: AbortSignal) {
  let last: string | undefined
  for (let failures = 0; !signal.aborted;) {
    await awake(follower, signal)
    if (signal.aborted) return
    follower.onConnection(failures ? 'lost' : 'connecting')
    const attempt = new AbortController()
    try {
      await readEvents(last, attempt, signal, block => {
        failures = 0
        follower.onConnection('live')
        if (last === undefined && block.id) {
          last = block.id
          follower.onFollowing()
        }
        last = block.id ?? last
        if (block.data) follower.onEvent(JSON.parse(block.data) as Event)
      })
    } catch (thrown) {
      if (signal.aborted) return
      if (thrown instanceof Refusal && thrown.problem.status === 400) last = undefined // a cursor that nobody knows
      if (thrown instanceof Refusal && thrown.problem.status === 401) return follower.onConnection('ended')
      if (!isAbort(thrown)) failures++
    }
    attempt.abort()
    if (document.visibilityState === 'hidden') continue
    failures = Math.max(failures, 1)
    await pause(Math.min(500 * 2 ** (failures - 1), 15_000) * (0.75 + Math.random() / 2), signal)
  }
}

async function readEvents(last: string | undefined, attempt: AbortController, signal: AbortSignal, take: (b: Block) => void) {
  const give = () => attempt.abort()
  let timer = setTimeout(give, silentFor)
  let hidden: ReturnType<typeof setTimeout> | undefined
  const look = () => {
    clearTimeout(hidden)
    if (document.visibilityState === 'hidden') hidden = setTimeout(give, sleepAfter)
  }
  look()
  document.addEventListener('visibilitychange', look)
  signal.addEventListener('abort', give)
  try {
    const headers: HeadersInit = last === undefined ? {} : { 'Last-Event-ID': last }
    const response = await request('/events', { headers, signal: attempt.signal, cache: 'no-store' })
    const read = blockReader(take)
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      clearTimeout(timer)
      timer = setTimeout(give, silentFor)
      read(value)
    }
  } finally {
    clearTimeout(timer)
    clearTimeout(hidden)
    document.removeEventListener('visibilitychange', look)
    signal.removeEventListener('abort', give)
  }
}

async function awake(follower: Follower, signal: AbortSignal) {
  if (document.visibilityState === 'visible') return
  follower.onConnection('asleep')
  await new Promise<void>(resolve => {
    const wake = () => {
      if (document.visibilityState === 'hidden' && !signal.aborted) return
      document.removeEventListener('visibilitychange', wake)
      resolve()
    }
    document.addEventListener('visibilitychange', wake)
    signal.addEventListener('abort', wake, { once: true })
  })
}

function pause(ms: number, signal: AbortSignal) {
  return new Promise<void>(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
  })
}

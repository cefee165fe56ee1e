// A state as colour, shape and word: none of the three is needed to tell it.
import type { OperationState, State } from './types'
import { words } from './format'

type Tone = 'good' | 'busy' | 'calm' | 'off' | 'bad' | 'odd'

const tones: Record<State, Tone> = {
  RUNNING: 'good',
  CREATING: 'busy',
  STARTING: 'busy',
  SUSPENDING: 'busy',
  STOPPING: 'busy',
  MIGRATING: 'busy',
  REBOOTING: 'busy',
  UPDATING: 'busy',
  DELETING: 'busy',
  PENDING: 'busy',
  HELD: 'calm',
  PAUSED: 'calm',
  SUSPENDED: 'calm',
  STOPPED: 'off',
  STORED: 'off',
  DELETED: 'off',
  FAILED: 'bad',
  UNKNOWN: 'odd',
}

// Drawn in a square of 12, in the colour of the tone.
const circle = <circle cx="6" cy="6" r="4.5" fill="currentColor" />
const turning = (
  <path className="turning" d="M6 1.5a4.5 4.5 0 1 1-4.5 4.5" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />
)
const bars = <path d="M3.5 2v8M8.5 2v8" stroke="currentColor" strokeWidth="2.6" strokeLinecap="round" />
const moon = <path d="M9.9 7.6A4.6 4.6 0 1 1 5 1.6a3.8 3.8 0 0 0 4.9 6z" fill="currentColor" />
const square = <rect x="2.2" y="2.2" width="7.6" height="7.6" rx="1.2" fill="none" stroke="currentColor" strokeWidth="1.8" />
const box = <path d="M1.8 2h8.4v2.6H1.8zM2.8 4.8h6.4V10H2.8zM5 6.6h2" fill="none" stroke="currentColor" strokeWidth="1.5" />
const triangle = <path fillRule="evenodd" d="M6 .8 11.6 11H.4zM5.3 4.4v3.2h1.4V4.4zm0 4v1.3h1.4V8.4z" fill="currentColor" />
const cross = <path d="m2.5 2.5 7 7m0-7-7 7" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />
const dots = <path d="M2 6h.01M6 6h.01M10 6h.01" stroke="currentColor" strokeWidth="2.6" strokeLinecap="round" />
const diamond = <path d="M6 1 11 6 6 11 1 6z" fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinejoin="round" />
const check = (
  <path d="m2 6.4 2.8 2.8L10 3.2" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" strokeLinejoin="round" />
)

const shapes: Partial<Record<State, React.ReactNode>> = {
  RUNNING: circle,
  PAUSED: bars,
  HELD: bars,
  SUSPENDED: moon,
  STOPPED: square,
  STORED: box,
  FAILED: triangle,
  DELETED: cross,
  UNKNOWN: diamond,
  PENDING: dots,
}

const operationMarks: Record<OperationState, [Tone, React.ReactNode]> = {
  RUNNING: ['busy', turning],
  SUCCEEDED: ['good', check],
  FAILED: ['bad', triangle],
  CANCELLED: ['off', cross],
  UNKNOWN: ['odd', diamond],
}

const order = Object.keys(tones) as State[]

/** States in the order in which they are shown; those that a later release adds stand last. */
export function inOrder(states: Iterable<State>): State[] {
  const all = [...new Set(states)]
  return [...order.filter(s => all.includes(s)), ...all.filter(s => !order.includes(s))]
}

export const toneOf = (state: State): Tone => tones[state] ?? 'odd' // a later release may add states

function Mark({ tone, shape, word }: { tone: Tone; shape: React.ReactNode; word: string }) {
  return (
    <span className="state" data-tone={tone}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        {shape}
      </svg>
      <span>{word}</span>
    </span>
  )
}

export function StateMark({ state, baseState }: { state: State; baseState?: State | undefined }) {
  const word = words(state)
  return (
    <Mark
      tone={toneOf(state)}
      shape={shapes[state] ?? (tones[state] === 'busy' ? turning : diamond)}
      word={baseState ? `${word} (${words(baseState).toLowerCase()})` : word}
    />
  )
}

export function OperationMark({ state }: { state: OperationState }) {
  const [tone, shape] = operationMarks[state] ?? operationMarks.UNKNOWN
  return <Mark tone={tone} shape={shape} word={words(state)} />
}

// What a VM has measured, one sample after the other.
import type { Schemas } from '../api/client'

export interface Sample extends Omit<Schemas['Metrics'], 'native'> {
  at: number
}

const keep = 120

/** Adds a sample to those before, unless it is no newer: the backend has measured nothing since. */
export function addSample(before: readonly Sample[], next: Sample): readonly Sample[] {
  const last = before.at(-1)
  if (last && next.at <= last.at) return before
  return [...before, next].slice(-keep)
}

export type Counter = 'diskReadBytes' | 'diskWriteBytes' | 'netReceivedBytes' | 'netSentBytes'

/** What a counter grows by in a second, up to each sample. One that begins anew says nothing. */
export function rates(samples: readonly Sample[], counter: Counter): (number | null)[] {
  return samples.map((sample, i) => {
    const before = samples[i - 1]
    const from = before?.[counter]
    const to = sample[counter]
    if (!before || from === undefined || to === undefined || to < from) return null
    return (to - from) / ((sample.at - before.at) / 1000)
  })
}

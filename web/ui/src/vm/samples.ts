// What a VM has measured, one sample after the other.
import type { Schemas } from '../api/client'

export interface Sample extends Omit<Schemas['Metrics'], 'native'> {
  at: number
}

const keep = 120

/** Adds a sample to those before, unless the backend has measured nothing new. */
export function addSample(before: readonly Sample[], next: Sample): readonly Sample[] {
  const last = before.at(-1)
  if (last?.sampleTime !== undefined && last.sampleTime === next.sampleTime) return before
  return [...before, next].slice(-keep)
}

type Counter = 'diskReadBytes' | 'diskWriteBytes' | 'netReceivedBytes' | 'netSentBytes'

/** What a counter grows by in a second, between samples. One that begins anew says nothing. */
export function rates(samples: readonly Sample[], counter: Counter): number[] {
  const all: number[] = []
  for (let i = 1; i < samples.length; i++) {
    const [a, b] = [samples[i - 1]!, samples[i]!]
    const from = a[counter]
    const to = b[counter]
    if (from === undefined || to === undefined || to < from || b.at <= a.at) continue
    all.push((to - from) / ((b.at - a.at) / 1000))
  }
  return all
}

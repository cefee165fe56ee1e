// Numbers and times for people.
import { useSyncExternalStore } from 'react'

const number = new Intl.NumberFormat('en')
const oneDigit = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const moment = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'medium' })

export const count = (n: number) => number.format(n)

export const decimal = (n: number) => oneDigit.format(n)

const hours = new Intl.DateTimeFormat('en', { timeStyle: 'medium', hourCycle: 'h23' })

/** The time of day. */
export const clock = (ms: number) => hours.format(ms)

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

export function bytes(n: number): string {
  const power = n < 1 ? 0 : Math.min(Math.floor(Math.log2(n) / 10), units.length - 1)
  return `${oneDigit.format(n / 1024 ** power)} ${units[power]}`
}

export function time(text: string | number | undefined): string {
  const ms = typeof text === 'string' ? Date.parse(text) : text
  return ms === undefined || Number.isNaN(ms) ? '' : moment.format(ms)
}

const steps: [seconds: number, unit: string][] = [
  [31_536_000, 'y'],
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
]

/** How long something takes or took: 3 min, 12 d. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const [size, unit] = steps.find(([size]) => seconds >= size) ?? steps.at(-1)!
  return `${number.format(Math.floor(seconds / size))} ${unit}`
}

/** How old something is; a time to come is said as such. */
export function age(ms: number | undefined, now: number): string {
  if (ms === undefined || Number.isNaN(ms)) return ''
  return ms > now + 2000 ? `in ${duration(ms - now)}` : duration(now - ms)
}

const tickMs = 10_000
let now = Date.now()
const listeners = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined

function subscribe(listener: () => void) {
  listeners.add(listener)
  timer ??= setInterval(() => {
    now = Date.now()
    listeners.forEach(tell => tell())
  }, tickMs)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

/** The same in a sentence: 3 min ago, in 2 h. */
export function ago(ms: number | undefined, now: number): string {
  const text = age(ms, now)
  return text === '' || text.startsWith('in ') ? text : `${text} ago`
}

const current = () => now

/** The time, as it goes on in steps of ten seconds. */
export const useNow = () => useSyncExternalStore(subscribe, current, current)

/** SHOUTED_WORDS and camelCase as words. */
export function words(name: string): string {
  const spaced =
    name.includes('_') || name === name.toUpperCase()
      ? name.toLowerCase().replaceAll('_', ' ')
      : name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()
  return spaced.charAt(0).toUpperCase() + spaced.slice(1)
}

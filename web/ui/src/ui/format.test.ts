import { expect, test } from 'vitest'

import { age, ago, bytes, duration, words } from './format'

test('sizes', () => {
  expect([0, 1023, 1024, 1.5 * 2 ** 30, 2 ** 80].map(bytes)).toEqual(['0 B', '1,023 B', '1 KiB', '1.5 GiB', '1,048,576 EiB'])
})

test('times, also those to come', () => {
  const now = Date.parse('2026-11-22T12:00:00Z')
  expect(age(now - 90_000, now)).toBe('1 min')
  expect(age(now - 3 * 86_400_000, now)).toBe('3 d')
  expect(age(now + 7_200_000, now)).toBe('in 2 h')
  expect(age(now + 500, now)).toBe('0 s')
  expect(age(undefined, now)).toBe('')
  expect(ago(now - 90_000, now)).toBe('1 min ago')
  expect(ago(now + 7_200_000, now)).toBe('in 2 h')
  expect(duration(-5)).toBe('0 s')
})

test('names as words', () => {
  expect(['RUNNING', 'POWEROFF_HARD', 'saveDisk', 'resetPowerState'].map(words)).toEqual([
    'Running',
    'Poweroff hard',
    'Save disk',
    'Reset power state',
  ])
})

import { describe, expect, test } from 'vitest'

import { lineReader } from './list'
import { type Row, rowOf } from './rows'
import { type Block, blockReader } from './stream'
import { bestOf, type Column, fits, natural, View, type Wanted } from './view'

/** Numbers that look random, and are the same in each run. */
function series(seed: number) {
  return (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed % below
  }
}

const wanted: Wanted = { text: '', states: [], backends: [], matches: undefined, sort: 'name', descending: false }

const row = (id: string, part: Partial<Row> = {}): Row => ({ ...rowOf({ id, displayName: id, state: 'RUNNING' }), ...part })

describe('a stream that is torn anywhere', () => {
  const text =
    ': following\nid: one.A-1\n\nid: one.A-2\nevent: vm.changed\ndata: {"type":"vm.changed","name":"äöü"}\n\n: alive\nid: one.A-3\n\n'
  const whole: Block[] = [{ id: 'one.A-1' }, { id: 'one.A-2', data: '{"type":"vm.changed","name":"äöü"}' }, { id: 'one.A-3' }]
  test.each(Array.from(text, (_, i) => i))('events, after character %i', at => {
    const blocks: Block[] = []
    const read = blockReader(b => blocks.push(b))
    read(text.slice(0, at))
    read(text.slice(at))
    expect(blocks).toEqual(whole)
  })
  test('lines', () => {
    const lines = '{"id":"one.1"}\n{"summary":{}}\n'
    for (let at = 0; at <= lines.length; at++) {
      const read = lineReader()
      expect([...read(lines.slice(0, at)), ...read(lines.slice(at))]).toEqual(['{"id":"one.1"}', '{"summary":{}}'])
    }
  })
  test('an end that was cut is no line', () => {
    expect(lineReader()('{"id":"one.1"}\n{"summ')).toEqual(['{"id":"one.1"}'])
  })
})

describe('the order', () => {
  test('numbers in names count by their value', () => {
    const names = ['web-10', 'Web-9', 'db-2', 'web-9a']
    expect(names.toSorted((a, b) => (natural(a) < natural(b) ? -1 : 1))).toEqual(['db-2', 'Web-9', 'web-9a', 'web-10'])
  })

  // Merging what a batch has changed must give what sorting everything anew gives.
  test.each(['name', 'state', 'memory', 'age'] as Column[])('by %s stays right while rows come, change and go', sort => {
    const random = series(11)
    const rows = new Map<string, Row>()
    const make = (n: number) =>
      row(`one.${n}`, {
        name: random(3) ? `vm-${random(50)}` : '',
        state: (['RUNNING', 'STOPPED', 'FAILED'] as const)[random(3)]!,
        memoryBytes: random(4) ? random(8) : undefined,
        createTime: random(4) ? random(100) : undefined,
      })
    for (let n = 0; n < 200; n++) rows.set(`one.${n}`, make(n))
    for (const descending of [false, true]) {
      const want = { ...wanted, sort, descending, states: ['RUNNING', 'STOPPED'] as const }
      const view = new View()
      view.update(rows, want, 'all')
      for (let round = 0; round < 50; round++) {
        const changed = new Set<string>()
        for (let i = random(12); i >= 0; i--) {
          const id = `one.${random(240)}`
          changed.add(id)
          if (random(4)) rows.set(id, make(Number(id.slice(4))))
          else rows.delete(id)
        }
        const merged = view.update(rows, want, changed)
        const anew = new View().update(rows, want, 'all')
        expect(merged.map(r => r.id)).toEqual(anew.map(r => r.id))
        expect(merged.every(r => rows.get(r.id) === r)).toBe(true)
      }
    }
  })
  test('what is not known stands last in either direction', () => {
    const rows = new Map([row('one.1', { memoryBytes: undefined }), row('one.2', { memoryBytes: 1 })].map(r => [r.id, r]))
    for (const descending of [false, true]) {
      expect(new View().update(rows, { ...wanted, sort: 'memory', descending }, 'all').at(-1)?.id).toBe('one.1')
    }
  })
})

test('every word of a search has to be somewhere', () => {
  const vm = row('one.42', { name: 'Web-1', host: 'node-7', owner: 'alice' })
  expect(fits(vm, { ...wanted, text: 'web node-7 ali' })).toBe(true)
  expect(fits(vm, { ...wanted, text: 'web node-8' })).toBe(false)
  expect(fits(vm, { ...wanted, backends: ['xen'] })).toBe(false)
  expect(fits(vm, { ...wanted, matches: new Set(['one.42']) })).toBe(true)
  expect(fits(vm, { ...wanted, matches: new Set() })).toBe(false)
})

test('the best fit stands first, however late it comes', () => {
  const rows = [
    ...Array.from({ length: 30 }, (_, i) => row(`one.${i}`, { name: `my-web-${i}` })),
    row('xen.1', { name: 'web-01' }),
    row('xen.2', { name: 'Web-0' }),
  ]
  expect(bestOf(rows, 'web-0').map(r => r.name)).toEqual(['Web-0', 'web-01', 'my-web-0'])
  expect(bestOf(rows, 'web')).toHaveLength(12)
  expect(bestOf(rows, 'one.7')[0]?.id).toBe('one.7')
})

test('a VM of which little is known makes a row all the same', () => {
  expect(rowOf({ id: 'xen.0b2f7c1e' })).toMatchObject({ backend: 'xen', name: '', state: 'UNKNOWN', host: '', memoryBytes: undefined })
})

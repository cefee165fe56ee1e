import { expect, test } from 'vitest'

import type { VM } from '../api/client'
import { draftOf, patchOf } from './patch'
import { addSample, rates, type Sample } from './samples'

const GiB = 2 ** 30

const vm: VM = {
  id: 'xen.1',
  kind: 'XENAPI',
  state: 'STOPPED',
  displayName: 'web',
  description: 'old',
  cpu: { vcpus: 2 },
  memory: { staticMaxBytes: 2 * GiB, dynamicMaxBytes: 2 * GiB, dynamicMinBytes: 2 * GiB, staticMinBytes: GiB },
  annotations: { keep: '1', change: '2', drop: '3' },
}

test('only what differs is sent', () => {
  const draft = draftOf(vm)
  expect(patchOf(vm, draft)).toEqual({})
  expect(patchOf(vm, { ...draft, displayName: 'web-2', description: '' })).toEqual({ displayName: 'web-2', description: null })
  expect(patchOf(vm, { ...draft, vcpus: '4' })).toEqual({ cpu: { vcpus: 4 } })
  expect(
    patchOf(vm, {
      ...draft,
      annotations: [
        ['keep', '1'],
        ['change', 'x'],
        ['new', 'y'],
        ['', 'no name'],
      ],
    }),
  ).toEqual({ annotations: { change: 'x', new: 'y', drop: null } })
})

test('the sizes of memory stay in their order', () => {
  const resize = (of: VM, memoryMiB: string) => patchOf(of, { ...draftOf(of), memoryMiB })['memory']
  expect(resize(vm, '4096')).toEqual({ dynamicMaxBytes: 4 * GiB, dynamicMinBytes: 4 * GiB, staticMaxBytes: 4 * GiB })
  expect(resize(vm, '512')).toEqual({
    dynamicMaxBytes: GiB / 2,
    dynamicMinBytes: GiB / 2,
    staticMaxBytes: GiB / 2,
    staticMinBytes: GiB / 2,
  })
  const running: VM = { ...vm, state: 'RUNNING', memory: { ...vm.memory, dynamicMinBytes: GiB } }
  expect(resize(running, '1536')).toEqual({ dynamicMaxBytes: 1.5 * GiB })
  expect(resize({ ...vm, kind: 'OPENNEBULA' }, '1024')).toEqual({ dynamicMaxBytes: GiB })
})

test('a rate is what a counter grows by, and one that begins anew says nothing', () => {
  const at = (s: number, netSentBytes: number): Sample => ({ at: s * 1000, netSentBytes })
  expect(rates([at(0, 0), at(10, 1000), at(20, 500), at(30, 1500)], 'netSentBytes')).toEqual([null, 100, null, 100])
  expect(rates([at(0, 5)], 'netSentBytes')).toEqual([null])
})

test('a sample that the backend repeats, or that is older, is not kept', () => {
  const kept = addSample([], { at: 2 })
  expect(addSample(kept, { at: 2 })).toBe(kept)
  expect(addSample(kept, { at: 1 })).toBe(kept)
  expect(addSample(kept, { at: 3 })).toHaveLength(2)
})

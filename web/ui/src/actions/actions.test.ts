import { expect, test } from 'vitest'

import { callOf, curl } from './call'
import { actionsOf, catalog, otherActions, slotsOf } from './catalog'
import { valuesOf } from './form'

const allow = (...pairs: [action: string | undefined, raw: string][]) => ({
  allowedActions: pairs.map(([action, raw]) => ({ ...(action && { action: action as 'start' }), raw })),
})

const labels = (...pairs: [string | undefined, string][]) => actionsOf(allow(...pairs)).map(a => a.label)

test('exactly what is allowed is offered', () => {
  expect(labels(['shutdown', 'poweroff'], ['shutdown', 'poweroff-hard'], [undefined, 'resched'])).toEqual(['Shut down', 'Power off'])
  expect(labels(['shutdown', 'hard_shutdown'])).toEqual(['Power off'])
  expect(labels(['resume', 'resume'], ['resume', 'resume_on'])).toEqual(['Resume', 'Resume on a host…'])
  expect(labels(['delete', 'terminate-hard'], ['delete', 'recover-delete'])).toEqual(['Delete', 'Delete, by force'])
  expect(actionsOf({})).toEqual([])
  expect(otherActions(allow(['start', 'start'], [undefined, 'snapshot']))).toEqual(['snapshot'])
})

test('each action is there once, and what destroys says what is lost', () => {
  expect(new Set(catalog.map(a => a.key)).size).toBe(catalog.length)
  for (const a of catalog) if (a.risk !== 'none') expect(a.about, a.key).not.toBe('')
  const harmless = catalog.filter(a => ['terminate', 'delete', 'recreate'].includes(a.verb) && a.risk !== 'destroys')
  expect(harmless).toEqual([])
})

test('the buttons keep their places', () => {
  const places = (...pairs: [string, string][]) => slotsOf(actionsOf(allow(...pairs))).map(s => (s.action ? s.label : `(${s.label})`))
  expect(places(['start', 'resume'], ['resume', 'resume'])).toEqual(['Start', '(Shut down)', '(Reboot)'])
  expect(places(['shutdown', 'poweroff'], ['reboot', 'reboot'])).toEqual(['(Start)', 'Shut down', 'Reboot'])
  expect(places(['unpause', 'unpause'])).toEqual(['Unpause', '(Shut down)', '(Reboot)'])
})

const action = (label: string) => catalog.find(a => a.label === label)!

test('a call is what the contract has', () => {
  expect(callOf(action('Start'), 'one.1')).toMatchObject({ method: 'POST', path: '/vms/one.1:start', body: undefined })
  expect(callOf(action('Power off'), 'one.1')).toMatchObject({ path: '/vms/one.1:shutdown', body: { mode: 'FORCE' } })
  expect(callOf(action('Delete, by force'), 'one.1')).toMatchObject({
    method: 'DELETE',
    path: '/vms/one.1',
    query: { force: 'true' },
    body: undefined,
  })
  const values = { disk: 'one.0', imageName: 'copy' }
  expect(callOf(action('Save a disk as an image…'), 'one.1', values)).toMatchObject({
    path: '/vms/one.1/disks/one.0:save',
    body: { imageName: 'copy' },
  })
  expect(valuesOf(action('Resize…'), { vcpus: '4', memory: '512', live: '' })).toEqual({
    vcpus: 4,
    memory: { dynamicMaxBytes: 536_870_912 },
  })
})

test('a command survives the shell, whatever is in it', () => {
  const call = callOf(action('Clone…'), 'xen.1', { displayName: `it's $HOME; rm` })
  expect(curl(call, 'https://gateway.example')).toBe(
    `curl -X POST https://gateway.example/vms/xen.1:clone -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"displayName":"it'\\''s $HOME; rm"}'`,
  )
})

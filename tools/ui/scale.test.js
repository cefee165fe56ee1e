import assert from 'node:assert/strict'
import { test } from 'node:test'

import { client, logIn, openPage, startDemo, until } from './world.js'

const demo = await startDemo(5000)

test('10,000 VMs: all are there, few are in the page, and events find theirs', async t => {
  const page = await openPage(t, demo)
  await logIn(page, demo)
  await page.goto(`${demo.url}/ui/vms`)
  const table = page.getByRole('table', { name: 'VMs' })
  await until('all are read', async () => Number(await table.getAttribute('aria-rowcount')) === 10_001)
  await page.getByText('Live', { exact: true }).waitFor()
  const lines = page.locator('.table-space [role=row]')
  assert.ok(await lines.count() < 100, `${await lines.count()} rows are in the page`)

  const body = page.locator('.table-body')
  await body.evaluate(e => (e.scrollTop = e.scrollHeight))
  await page.locator('[aria-rowindex="10001"]').waitFor()
  await body.evaluate(e => (e.scrollTop = e.scrollHeight / 2))
  await page.locator('[aria-rowindex="5001"]').waitFor()
  const middle = page.locator('[aria-rowindex="5001"] a')
  const opened = await middle.textContent()
  const at = await middle.evaluate(a => { // scrolled, and left before anybody can hear of it
    const e = a.closest('.table-body')
    const to = e.scrollTop += 7
    a.click()
    return to
  })
  await page.getByRole('heading', { level: 1, name: opened }).waitFor()
  await page.goBack()
  await page.locator('[aria-rowindex="5001"]').waitFor()
  assert.equal(await body.evaluate(e => e.scrollTop), at)

  const api = await client(demo)
  await page.locator('#fleet-search').fill('one.4999')
  await page.getByText('1 of 10,000 VMs').waitFor()
  await api.call('PATCH', '/vms/one.4999', { displayName: 'far-down' })
  await page.getByRole('link', { name: 'far-down' }).waitFor()
  await page.locator('#fleet-search').fill('')
  await page.getByRole('button', { name: 'Name' }).click()
  assert.equal(await page.getByRole('columnheader', { name: 'Name' }).getAttribute('aria-sort'), 'descending')
  await until('the order is turned round', async () => /^z?w/.test(await lines.first().getByRole('link').textContent()))
})

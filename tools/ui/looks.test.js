import assert from 'node:assert/strict'
import { test } from 'node:test'

import { assertAccessible, client, logIn, openPage, startDemo } from './world.js'

const demo = await startDemo(24)
const api = await client(demo)
const [one] = await api.find('backend=one AND state=RUNNING')
const [xen] = await api.find('backend=xen AND state=RUNNING')

const pages = {
  '/ui/': page => page.getByRole('meter').first().waitFor(),
  '/ui/vms': page => page.locator('.table-space [role=row]').first().waitFor(),
  '/ui/vms?q=nothing-fits-this': page => page.getByText('No VM fits.').waitFor(),
  [`/ui/vms/${one.id}`]: page => page.getByRole('heading', { name: 'Where it has been' }).waitFor(),
  [`/ui/vms/${xen.id}`]: page => page.getByRole('heading', { name: 'XenAPI', exact: true }).waitFor(),
  '/ui/vms/one.999999': page => page.getByText('There is no VM').waitFor(),
  '/ui/operations': page => page.getByRole('heading', { name: 'Operations' }).waitFor(),
  '/ui/nowhere': page => page.getByText('There is no such page').waitFor(),
}

for (const theme of ['light', 'dark']) {
  for (const width of [1440, 360]) {
    test(`every page is accessible: ${theme}, ${width} px wide`, async t => {
      const page = await openPage(t, demo, { theme, width, height: width > 500 ? 900 : 760 })
      await page.goto(`${demo.url}/ui/`)
      await page.getByLabel('Password').waitFor()
      await assertAccessible(page, 'login')
      await logIn(page, demo)
      for (const [path, shown] of Object.entries(pages)) {
        await page.goto(demo.url + path)
        await shown(page)
        await page.locator('.skeleton').first().waitFor({ state: 'detached' })
        await assertAccessible(page, path)
        const wide = await page.evaluate(() => document.documentElement.scrollWidth)
        assert.ok(wide <= width, `${path} is ${wide} px wide, and the window ${width}`)
      }
    })

    test(`windows and menus are accessible: ${theme}, ${width} px wide`, async t => {
      const page = await openPage(t, demo, { theme, width, height: width > 500 ? 900 : 760 })
      await logIn(page, demo)
      await page.goto(`${demo.url}/ui/vms/${one.id}`)
      await page.getByRole('button', { name: 'More' }).click()
      await page.getByRole('menuitem', { name: 'Terminate', exact: true }).waitFor()
      await assertAccessible(page, 'menu', { floating: true })
      await page.getByRole('menuitem', { name: 'Terminate', exact: true }).click()
      await page.getByRole('dialog').getByText('What would be sent').click()
      await page.getByRole('button', { name: 'Ask for a dry run' }).click()
      await page.getByText('The backend would allow it.').waitFor()
      await assertAccessible(page, 'terminate', { floating: true })
      await page.keyboard.press('Escape')
      await page.getByRole('button', { name: 'Edit' }).click()
      await page.getByRole('dialog').getByLabel('Name', { exact: true }).waitFor()
      await assertAccessible(page, 'edit', { floating: true })
      await page.keyboard.press('Escape')
      await page.keyboard.press('Control+k')
      await page.getByRole('option').first().waitFor()
      await assertAccessible(page, 'palette', { floating: true })
    })
  }
}

test('the first load is small, keeps still, and is not asked for twice', async t => {
  const page = await openPage(t, demo)
  await logIn(page, demo)
  await page.addInitScript(() => {
    window.moved = 0
    new PerformanceObserver(list => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value
    }).observe({ type: 'layout-shift', buffered: true })
  })
  const session = await page.context().newCDPSession(page)
  await session.send('Network.enable')
  let bytes = 0
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength))
  await page.goto(`${demo.url}/ui/vms`)
  await page.locator('.table-space [role=row]').first().waitFor()
  await page.getByText('Live', { exact: true }).waitFor()
  assert.ok(bytes < 250_000, `${bytes} bytes`)
  assert.ok(await page.evaluate(() => window.moved) < 0.1, `what is shown has moved by ${await page.evaluate(() => window.moved)}`)
  t.diagnostic(`${bytes} bytes until the fleet is shown`)

  bytes = 0
  await page.goto(`${demo.url}/ui/operations`)
  await page.getByText('Live', { exact: true }).waitFor()
  assert.ok(bytes < 30_000, `${bytes} bytes when the browser has them already`)
})

test('the theme is the system’s until one is chosen, and stays', async t => {
  const page = await openPage(t, demo, { theme: 'dark' })
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)
  await logIn(page, demo)
  await page.goto(`${demo.url}/ui/`)
  const dark = await ground()
  await page.getByRole('button', { name: 'Light theme' }).click()
  const light = await ground()
  assert.notEqual(light, dark)
  await page.reload()
  assert.equal(await ground(), light)
})

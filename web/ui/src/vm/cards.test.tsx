import { renderToStaticMarkup } from 'react-dom/server'
import { expect, test } from 'vitest'

import { Disks, Nics, Summary } from './cards'

test('of 300 disks the first are shown, and the others on demand', () => {
  const disks = Array.from({ length: 300 }, (_, i) => ({ id: `one.${i}`, device: `vd${i}`, sizeBytes: 2 ** 30 }))
  const html = renderToStaticMarkup(<Disks disks={disks} />)
  expect(html).toContain('Disks (300)')
  expect(html).toContain('Show all 300')
  expect(html.match(/<tr>/g)).toHaveLength(21)
})

test('what a backend says is text', () => {
  const html = renderToStaticMarkup(
    <Nics nics={[{ id: 'one.0', mac: '<b>', network: { id: 'one.1', displayName: '<script>' }, addresses: ['"><img src=x>'] }]} />,
  )
  expect(html).not.toMatch(/<b>|<script|<img/)
})

test('a VM of which only the id is known has a summary, and a time to come is said as such', () => {
  expect(renderToStaticMarkup(<Summary vm={{ id: 'one.1' }} />)).toContain('Nothing is known.')
  expect(renderToStaticMarkup(<Summary vm={{ id: 'one.1', createTime: '2999-01-01T00:00:00Z' }} />)).toMatch(/\(in \d+ y\)/)
})

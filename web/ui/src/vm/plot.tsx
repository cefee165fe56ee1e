// One measure over time, drawn by uPlot: as wide as there is room, in the colours of the page.
import { useEffect, useId, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

import { clock } from '../ui/format'
import { useDark } from '../ui/theme'

const height = 120
const leastSeconds = 60 // of the time that is shown: one sample is a point, and no line

/** Where the steps of the upper axis stand: round for people, in powers of two for bytes. */
const steps = (binary: boolean) => Array.from({ length: 52 }, (_, i) => (binary ? [2 ** i] : [1, 2, 5].map(n => n * 10 ** (i - 6)))).flat()

/** Whether a time has room for its words below the plot: at its edges it would be cut off. */
const fitsUnder = (u: uPlot, seconds: number) => {
  const x = u.valToPos(seconds, 'x')
  return x > 24 && x < u.over.clientWidth - 24
}

export interface Measure {
  name: string
  values: (number | null)[]
  text(n: number): string
  binary: boolean
  most?: number | undefined
}

export function Plot({ name, values, text, binary, most, times }: Measure & { times: number[] }) {
  const id = useId()
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const [under, setUnder] = useState<number | null>(null) // what the pointer is over
  const dark = useDark()
  const data: uPlot.AlignedData = [times, values]
  const latest = useRef({ data, text, most })
  latest.current = { data, text, most }

  useEffect(() => {
    const element = box.current!
    const colour = (css: string) => {
      element.style.color = css
      return getComputedStyle(element).color
    }
    const [line, fill, grid, soft] = [
      'var(--accent)',
      'color-mix(in srgb, var(--accent) 14%, transparent)',
      'var(--line)',
      'var(--soft)',
    ].map(colour) as [string, string, string, string]
    const axis = { stroke: soft, font: `11px ${getComputedStyle(element).fontFamily}`, ticks: { show: false }, gap: 4 }
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        padding: [6, 6, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'samples' }, points: { size: 6 } },
        scales: {
          x: { range: ({ data: [all] }) => [Math.min(all[0] ?? 0, (all.at(-1) ?? 0) - leastSeconds), all.at(-1) ?? 0] },
          y: { range: (_, __, top) => [0, Math.max(latest.current.most ?? 0, top, 1e-9)] },
        },
        axes: [
          {
            ...axis,
            size: 20,
            space: 64,
            incrs: [10, 20, 30, 60, 120, 300, 600],
            grid: { show: false },
            values: (u, all) => all.map(s => (fitsUnder(u, s) ? clock(s * 1000) : null)),
          },
          {
            ...axis,
            size: 58,
            space: 36,
            incrs: steps(binary),
            grid: { stroke: grid, width: 1 },
            values: (_, all) => all.map(n => latest.current.text(n)),
          },
        ],
        series: [
          {},
          {
            stroke: line,
            fill,
            width: 1.5,
            points: { show: (u, _, first, last) => last - first < 2 || u.data[1]?.length === 1, size: 5, fill: line },
          },
        ],
        hooks: { setCursor: [u => setUnder(u.cursor.idx ?? null)] },
      },
      latest.current.data,
      element,
    )
    plot.current = made
    const resize = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }))
    resize.observe(element)
    return () => {
      resize.disconnect()
      made.destroy()
    }
  }, [binary, dark])
  useEffect(() => plot.current?.setData([times, values]), [times, values])

  const known = values.filter(v => v !== null)
  const now = known.at(-1)
  const value = under === null ? now : values[under]
  return (
    <figure className="chart">
      <figcaption id={id}>
        <span>{name}</span>
        <span>
          {under !== null && times[under] !== undefined && <span className="number">{clock(times[under] * 1000)} </span>}
          <strong className="number">{typeof value === 'number' ? text(value) : '–'}</strong>
        </span>
      </figcaption>
      <div
        ref={box}
        className="chart-plot"
        role="img"
        aria-label={
          now === undefined
            ? name
            : `${name}: ${text(now)} now, from ${text(Math.min(...known))} to ${text(Math.max(...known))} in ${known.length} ${known.length === 1 ? 'sample' : 'samples'}`
        }
      />
    </figure>
  )
}

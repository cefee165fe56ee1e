// What a VM measures, since this page was opened: the backends tell only the present.
import { useQuery } from '@tanstack/react-query'
import { useId } from 'react'

import { api, body, problemOf, type VM } from '../api/client'
import { bytes, decimal, time } from '../ui/format'
import { Card, Loading, ProblemNote } from '../ui/parts'
import { addSample, rates, type Sample } from './samples'

const everyMs = 5000

function useSamples(id: string) {
  return useQuery({
    queryKey: ['samples', id],
    refetchInterval: everyMs,
    staleTime: everyMs,
    structuralSharing: (before: unknown, next: unknown) =>
      addSample((before as readonly Sample[] | undefined) ?? [], (next as [Sample])[0]),
    queryFn: async ({ signal }): Promise<readonly Sample[]> => {
      const m = await body(api.GET('/vms/{vm}/metrics', { params: { path: { vm: id } }, signal }))
      return [{ ...m, at: m.sampleTime ? Date.parse(m.sampleTime) : Date.now() }]
    },
  })
}

export function Charts({ vm }: { vm: VM }) {
  const samples = useSamples(vm.id)
  const data = samples.data
  return (
    <Card title="Use" aside={data?.at(-1)?.sampleTime ? <span className="hint">measured {time(data.at(-1)!.sampleTime)}</span> : undefined}>
      {data ? (
        <All samples={data} vm={vm} />
      ) : samples.error ? (
        <ProblemNote problem={problemOf(samples.error)} retry={() => void samples.refetch()} />
      ) : (
        <Loading lines={5} />
      )}
    </Card>
  )
}

function All({ samples, vm }: { samples: readonly Sample[]; vm: VM }) {
  const known = (pick: (s: Sample) => number | undefined) => samples.flatMap(s => pick(s) ?? [])
  const share = (s: Sample) => {
    const each = Object.values(s.vcpuUtilisation ?? {})
    return s.cpuUsedPercent ?? (each.length > 0 ? (100 * each.reduce((a, b) => a + b, 0)) / each.length : undefined)
  }
  const perSecond = (n: number) => `${bytes(n)}/s`
  const charts: [string, number[], (n: number) => string, (number | undefined)?][] = [
    ['Processor', known(share), n => `${decimal(n)} %`, 100],
    ['Memory', known(s => s.memoryActualBytes), bytes, vm.memory?.dynamicMaxBytes ?? vm.memory?.staticMaxBytes],
    ['Disk, read', rates(samples, 'diskReadBytes'), perSecond],
    ['Disk, written', rates(samples, 'diskWriteBytes'), perSecond],
    ['Network, in', rates(samples, 'netReceivedBytes'), perSecond],
    ['Network, out', rates(samples, 'netSentBytes'), perSecond],
  ]
  const shown = charts.filter(([, values]) => values.length > 0)
  if (shown.length === 0) return <p className="empty">The backend has measured nothing yet.</p>
  return (
    <div className="charts">
      {shown.map(([name, values, text, most]) => (
        <Chart key={name} name={name} values={values} text={text} most={most} />
      ))}
    </div>
  )
}

function Chart({
  name,
  values,
  text,
  most,
}: {
  name: string
  values: readonly number[]
  text(n: number): string
  most?: number | undefined
}) {
  const id = useId()
  const top = Math.max(most ?? 0, ...values, 1e-9)
  const last = values.at(-1)!
  const x = (i: number) => (values.length === 1 ? 0 : (i / (values.length - 1)) * 100)
  const y = (v: number) => 29 - (v / top) * 28
  const points = values.length === 1 ? `0,${y(last)} 100,${y(last)}` : values.map((v, i) => `${x(i)},${y(v)}`).join(' ')
  return (
    <figure className="chart">
      <figcaption id={id}>
        <span>{name}</span>
        <strong className="number">{text(last)}</strong>
      </figcaption>
      <svg
        viewBox="0 0 100 30"
        preserveAspectRatio="none"
        role="img"
        aria-labelledby={id}
        aria-description={`${values.length} samples, from ${text(Math.min(...values))} to ${text(Math.max(...values))}`}
      >
        <polygon points={`0,30 ${points} 100,30`} className="chart-area" />
        <polyline points={points} className="chart-line" vectorEffect="non-scaling-stroke" />
      </svg>
    </figure>
  )
}

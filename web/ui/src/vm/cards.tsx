// What a single read of a VM tells, grouped for people.
import type { ReactNode } from 'react'
import { useState } from 'react'

import type { Schemas, VM } from '../api/client'
import { age, bytes, count, decimal, time, useNow, words } from '../ui/format'
import { Button, Card, CopyButton, Facts } from '../ui/parts'

type Ref = Schemas['Ref']

const ref = (r: Ref | undefined) => r && <span title={r.id}>{r.displayName || r.id}</span>
const size = (n: number | undefined) => (n === undefined ? undefined : bytes(n))
const yes = (b: boolean | undefined) => (b === undefined ? undefined : b ? 'yes' : 'no')
const code = (text: string | undefined) => text && <code>{text}</code>
const seconds = (n: number | undefined) => n && `${count(n)} s`

function When({ at }: { at: string | undefined }) {
  const now = useNow()
  if (!at) return null
  return (
    <time dateTime={at} title={time(at)}>
      {time(at)} <span className="hint">({age(Date.parse(at), now)})</span>
    </time>
  )
}

export function Summary({ vm }: { vm: VM }) {
  const { rawState: raw, cpu, memory, placement, lifecyclePolicy: policy } = vm
  const rawWords = raw?.powerState ?? [raw?.state, raw?.lcmState].filter(Boolean).join(' / ')
  const range =
    memory?.dynamicMinBytes !== undefined && memory.dynamicMinBytes !== memory.dynamicMaxBytes
      ? `${bytes(memory.dynamicMinBytes)} – ${size(memory.dynamicMaxBytes)}`
      : size(memory?.dynamicMaxBytes ?? memory?.staticMaxBytes)
  return (
    <Card title="Summary">
      <Facts
        facts={[
          ['Backend’s state', code(rawWords)],
          ['Host', ref(vm.host)],
          [
            'Owner',
            vm.owner?.user && (
              <>
                {ref(vm.owner.user)}
                {vm.owner.group && <span className="hint"> of {ref(vm.owner.group)}</span>}
              </>
            ),
          ],
          [
            'Processors',
            cpu?.vcpus !== undefined && (
              <>
                {count(cpu.vcpus)}
                {cpu.maxVcpus !== undefined && cpu.maxVcpus !== cpu.vcpus && (
                  <span className="hint"> of at most {count(cpu.maxVcpus)}</span>
                )}
              </>
            ),
          ],
          ['Processor share', cpu?.share !== undefined && decimal(cpu.share)],
          ['Memory', range],
          ['Memory at most', memory?.staticMaxBytes !== memory?.dynamicMaxBytes && size(memory?.staticMaxBytes)],
          ['Made', vm.createTime && <When at={vm.createTime} />],
          ['Template', yes(vm.template || undefined)],
          [
            'Boots',
            vm.boot &&
              [vm.boot.domainType, vm.boot.hvm?.policy, vm.boot.hvm?.params?.['firmware'], vm.boot.pv?.kernel].filter(Boolean).join(', '),
          ],
          ['Preferred host', ref(placement?.preferredHost)],
          ['Requirements', code(placement?.requirements)],
          ['Rank', code(placement?.rank)],
          [
            'On shutdown, reboot, crash',
            policy && [policy.onShutdown, policy.onReboot, policy.onCrash].map(p => words(p ?? '?').toLowerCase()).join(', '),
          ],
          ['Domain', code(vm.runtime?.domainId)],
          ['Architecture', vm.runtime?.architecture],
        ]}
      />
    </Card>
  )
}

export function Rows<T>({
  items,
  name,
  head,
  row,
  empty,
}: {
  items: readonly T[]
  name: string
  head: readonly string[]
  row(item: T): readonly ReactNode[]
  empty: string
}) {
  const [all, setAll] = useState(false)
  if (items.length === 0) return <p className="empty">{empty}</p>
  const shown = all ? items : items.slice(0, 20)
  return (
    <div className="scroll-x" tabIndex={0} role="group" aria-label={name}>
      <table className="plain">
        <thead>
          <tr>
            {head.map(h => (
              <th key={h} scope="col">
                {h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((item, i) => (
            <tr key={i}>
              {row(item).map((cell, j) => (
                <td key={j}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < items.length && (
        <Button small onClick={() => setAll(true)}>
          Show all {count(items.length)}
        </Button>
      )}
    </div>
  )
}

export function Disks({ disks }: { disks: readonly Schemas['Disk'][] }) {
  return (
    <Card title={`Disks (${count(disks.length)})`}>
      <Rows
        items={disks}
        name="Disks"
        empty="It has no disks."
        head={['Device', 'Type', 'Size', 'Image', 'Storage', 'Notes']}
        row={d => [
          code(d.device ?? d.position ?? d.id),
          words(d.type ?? 'UNKNOWN'),
          <span className="number">{size(d.sizeBytes)}</span>,
          ref(d.image) ?? (d.empty ? 'empty' : ''),
          ref(d.storage),
          <span className="hint">
            {[d.mode === 'RO' && 'read-only', d.bootable && 'bootable', d.attached === false && 'detached', d.persistent && 'persistent']
              .filter(Boolean)
              .join(', ')}
          </span>,
        ]}
      />
    </Card>
  )
}

export function Nics({ nics }: { nics: readonly Schemas['NIC'][] }) {
  return (
    <Card title={`Network interfaces (${count(nics.length)})`}>
      <Rows
        items={nics}
        name="Network interfaces"
        empty="It has no network interfaces."
        head={['Device', 'MAC', 'Network', 'Addresses', 'Notes']}
        row={n => [
          code(n.device ?? n.id),
          code(n.mac),
          ref(n.network),
          n.addresses?.map(a => (
            <span key={a} className="copyable">
              <code>{a}</code>
              <CopyButton text={a} label={`Copy ${a}`} />
            </span>
          )),
          <span className="hint">
            {[n.alias && 'alias', n.attached === false && 'detached', n.mtu && `MTU ${n.mtu}`].filter(Boolean).join(', ')}
          </span>,
        ]}
      />
    </Card>
  )
}

const mapFacts = (map: Readonly<Record<string, string>> | undefined) =>
  Object.entries(map ?? {}).map(([k, v]) => [k, <code key={k}>{v || '""'}</code>] as const)

function MapCard({ title, map }: { title: string; map: Readonly<Record<string, string>> | undefined }) {
  const facts = mapFacts(map)
  return (
    facts.length > 0 && (
      <Card title={title}>
        <Facts facts={facts} />
      </Card>
    )
  )
}

/** What only one of the backends has. */
export function BackendCards({ vm }: { vm: VM }) {
  const { opennebula: one, xenapi: xen } = vm
  return (
    <>
      <MapCard title="Annotations" map={vm.annotations} />
      <MapCard title="Platform" map={vm.platform} />
      {one && (
        <Card title="OpenNebula">
          <Facts
            facts={[
              ['Permissions', one.permissions && <code>{permissions(one.permissions)}</code>],
              ['Template', code(one.templateId)],
              ['To be rescheduled', yes(one.rescheduled)],
              ['Locked', one.lock],
              ['Last polled', one.lastPollTime && <When at={one.lastPollTime} />],
              ['Ended', one.endTime && <When at={one.endTime} />],
            ]}
          />
        </Card>
      )}
      {xen && (
        <Card title="XenAPI">
          <Facts
            facts={[
              ['Tags', xen.tags?.join(', ')],
              ['High availability', xen.haRestartPriority || (xen.haAlwaysRun ? 'always run' : undefined)],
              ['Start order', xen.startOrder !== undefined && count(xen.startOrder)],
              ['Start delay', seconds(xen.startDelaySeconds)],
              ['Shutdown delay', seconds(xen.shutdownDelaySeconds)],
              ['Hardware platform', xen.hardwarePlatformVersion !== undefined && count(xen.hardwarePlatformVersion)],
              ['Shadow multiplier', xen.shadowMultiplier !== undefined && decimal(xen.shadowMultiplier)],
              ['Needs a reboot', yes(xen.requiresReboot)],
              ['PCI bus', code(xen.pciBus)],
              ['Suspended to', code(xen.suspendDisk)],
              ...mapFacts(xen.blockedOperations).map(([k, v]) => [`Blocked: ${k}`, v] as const),
            ]}
          />
        </Card>
      )}
      <MapCard title="XenStore" map={xen?.xenstoreData} />
    </>
  )
}

function permissions(p: Schemas['Permissions']) {
  const bits = (b: Schemas['PermissionBits']) => (b.use ? 'u' : '-') + (b.manage ? 'm' : '-') + (b.admin ? 'a' : '-')
  return `${bits(p.owner)} ${bits(p.group)} ${bits(p.other)}`
}

export function History({ vm }: { vm: VM }) {
  const history = vm.opennebula?.history
  if (!history) return null
  return (
    <Card title="Where it has been">
      <Rows
        items={history.toReversed()}
        name="Where it has been"
        empty="It has been nowhere yet."
        head={['No.', 'Host', 'From', 'Until', 'Left by']}
        row={h => [
          <span className="number">{count(h.sequence)}</span>,
          ref(h.host),
          time(h.startTime),
          h.endTime ? time(h.endTime) : 'now',
          h.action === 'none' ? '' : words(h.action ?? ''),
        ]}
      />
    </Card>
  )
}

// Every VM of every backend, and the caller's operations, as they are now: read once, then kept
// right by events. React looks at it through useSyncExternalStore; it changes in batches.
import { api, body, isAbort, type Operation, type Problem, problemOf, type Undecodable, type Unreachable, type VM } from '../api/client'
import { listVMs } from './list'
import { type Row, rowFields, rowOf } from './rows'
import { type Connection, type Event, follow } from './stream'

export interface FleetState {
  /** Grows with each batch. */
  version: number
  rows: ReadonlyMap<string, Row>
  /** The newest first. */
  operations: readonly Operation[]
  loading: boolean
  /** Why the last read of the list failed as a whole. */
  error: Problem | undefined
  connection: Connection
  unreachable: readonly Unreachable[]
  undecodable: readonly Undecodable[]
  /** How many more could not be read: a list names only the first. */
  unnamed: number
}

const batchMs = 200
const startWithin = 1500 // then the list is read although the stream of events is not there yet
const keepOperations = 2000

export class Fleet {
  private state: FleetState = {
    version: 0,
    rows: new Map(),
    operations: [],
    loading: true,
    error: undefined,
    connection: 'connecting',
    unreachable: [],
    undecodable: [],
    unnamed: 0,
  }
  private readonly rows = new Map<string, Row>()
  private readonly operations = new Map<string, Operation>()
  private readonly listeners = new Set<() => void>()
  private readonly changeListeners = new Set<(ids: ReadonlySet<string>) => void>()
  private readonly operationListeners = new Set<(operation: Operation) => void>()
  private pending: Partial<FleetState> = {}
  private changed = new Set<string>()
  private timer: ReturnType<typeof setTimeout> | undefined
  private stop: AbortController | undefined
  /** The VMs that events told of while a list was read: those know better than the list. */
  private fresher: Set<string> | undefined
  private reading: Promise<void> = Promise.resolve()

  // Bound, since React calls them by themselves.
  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  readonly snapshot = () => this.state

  /** Tells which VMs each batch has touched. */
  onChanges(listener: (ids: ReadonlySet<string>) => void) {
    this.changeListeners.add(listener)
    return () => void this.changeListeners.delete(listener)
  }

  /** Tells of each operation at once, as it begins, goes on and ends. */
  onOperation(listener: (operation: Operation) => void) {
    this.operationListeners.add(listener)
    return () => void this.operationListeners.delete(listener)
  }

  operation(id: string) {
    return this.operations.get(id)
  }

  /** Begins from nothing, for the session that there is now. */
  start() {
    this.end()
    const stop = (this.stop = new AbortController())
    const { signal } = stop
    this.forget()
    let begun = false
    const begin = () => {
      if (begun || signal.aborted) return
      begun = true
      void this.read(undefined, signal)
    }
    const timer = setTimeout(begin, startWithin)
    signal.addEventListener('abort', () => clearTimeout(timer))
    void this.readOperations(signal)
    void follow(
      {
        onConnection: connection => this.state.connection === connection || this.change({ connection }),
        onFollowing: () => {
          clearTimeout(timer)
          if (begun)
            void this.read(undefined, signal) // what changed since that list began was not told
          else begin()
        },
        onEvent: event => this.take(event, signal),
      },
      signal,
    )
  }

  end() {
    this.stop?.abort()
    clearTimeout(this.timer)
    this.timer = undefined
  }

  /** Reads the list again, of some backends or of all. */
  reload(backends?: string[]) {
    if (this.stop && !this.stop.signal.aborted) void this.read(backends, this.stop.signal)
  }

  /** Takes over what an answer told of a VM, or of an operation, before an event does. */
  knowVM(vm: VM) {
    if (this.rows.has(vm.id)) this.put(vm)
  }

  knowOperation(operation: Operation) {
    const known = this.operations.get(operation.id)
    if (known && known.state !== 'RUNNING' && operation.state === 'RUNNING') return // it never goes back
    this.operations.set(operation.id, operation)
    if (this.operations.size > keepOperations) this.operations.delete(oldest(this.operations.values()).id)
    this.operationListeners.forEach(tell => tell(operation))
    this.change({ operations: [] }) // made anew with the batch
  }

  private forget() {
    for (const id of this.rows.keys()) this.changed.add(id)
    this.rows.clear()
    this.operations.clear()
    this.change({ loading: true, error: undefined, unreachable: [], undecodable: [], unnamed: 0, operations: [] })
    this.flush()
  }

  private take(event: Event, signal: AbortSignal) {
    switch (event.type) {
      case 'vm.created':
      case 'vm.changed':
        if (event.vm) this.put(event.vm)
        break
      case 'vm.deleted':
        if (event.id) this.drop(event.id)
        break
      case 'operation.changed':
        if (event.operation) this.knowOperation(event.operation)
        break
      case 'backend.down':
        this.backendDown(event)
        break
      case 'backend.up':
      case 'resync':
        if (event.backend) void this.read([event.backend], signal)
        break
    }
  }

  private put(vm: VM) {
    if (vm.template || vm.snapshot || vm.controlDomain || vm.state === 'DELETED') return this.drop(vm.id)
    this.rows.set(vm.id, rowOf(vm))
    this.fresher?.add(vm.id)
    this.changed.add(vm.id)
    this.change({})
  }

  private drop(id: string) {
    this.rows.delete(id)
    this.fresher?.add(id)
    this.changed.add(id)
    this.change({})
  }

  private backendDown({ backend, code, detail }: Event) {
    if (!backend) return
    const problem: Problem = {
      type: '/docs/errors',
      title: 'The backend cannot be watched',
      status: 503,
      code: code ?? 'BACKEND_UNAVAILABLE',
      detail: detail ?? '',
      retryable: true,
      requestId: '',
    }
    const others = (this.pending.unreachable ?? this.state.unreachable).filter(u => u.backend !== backend)
    this.change({ unreachable: [...others, { backend, problem }] })
  }

  /** One list after the other: the later one is the newer one. */
  private read(backends: string[] | undefined, signal: AbortSignal) {
    this.reading = this.reading.then(() => this.readNow(backends, signal))
    return this.reading
  }

  private async readNow(backends: string[] | undefined, signal: AbortSignal) {
    if (signal.aborted) return
    const fresher = (this.fresher = new Set())
    const seen = new Set<string>()
    this.change({ loading: true })
    try {
      const { unreachable, undecodable, undecodableTotal } = await listVMs(
        { fields: rowFields, ...(backends && { backends }) },
        signal,
        vms => {
          for (const vm of vms) {
            seen.add(vm.id)
            if (fresher.has(vm.id)) continue
            this.rows.set(vm.id, rowOf(vm))
            this.changed.add(vm.id)
          }
          this.change({})
        },
      )
      if (signal.aborted) return
      const covered = (name: string) => !backends || backends.includes(name)
      const silent = new Set(unreachable.map(u => u.backend)) // their VMs stay as they were last seen
      for (const [id, row] of this.rows) {
        if (seen.has(id) || fresher.has(id) || !covered(row.backend) || silent.has(row.backend)) continue
        this.rows.delete(id)
        this.changed.add(id)
      }
      const backendOf = (u: Undecodable) => u.id?.split('.')[0] ?? u.problem.backend?.id ?? ''
      this.change({
        loading: false,
        error: undefined,
        unreachable: [...this.state.unreachable.filter(u => !covered(u.backend)), ...unreachable],
        undecodable: [...this.state.undecodable.filter(u => !covered(backendOf(u))), ...undecodable],
        unnamed: undecodableTotal - undecodable.length,
      })
    } catch (thrown) {
      if (!isAbort(thrown) && !signal.aborted) this.change({ loading: false, error: problemOf(thrown) })
    } finally {
      if (this.fresher === fresher) this.fresher = undefined
    }
  }

  private async readOperations(signal: AbortSignal) {
    try {
      const { operations } = await body(api.GET('/operations', { signal }))
      for (const operation of operations) if (!this.operations.has(operation.id)) this.knowOperation(operation)
    } catch {
      // The list of VMs fails as well, and says why.
    }
  }

  private change(part: Partial<FleetState>) {
    Object.assign(this.pending, part)
    this.timer ??= setTimeout(() => this.flush(), batchMs)
  }

  private flush() {
    clearTimeout(this.timer)
    this.timer = undefined
    const { changed, pending } = this
    this.changed = new Set()
    this.pending = {}
    const operations = pending.operations ? newestFirst(this.operations.values()) : this.state.operations
    this.state = { ...this.state, ...pending, operations, rows: this.rows, version: this.state.version + 1 }
    if (changed.size > 0) this.changeListeners.forEach(tell => tell(changed))
    this.listeners.forEach(tell => tell())
  }
}

const oldest = (all: Iterable<Operation>) => [...all].reduce((a, b) => (a.createTime <= b.createTime ? a : b))
const newestFirst = (all: Iterable<Operation>) => [...all].sort((a, b) => (a.createTime < b.createTime ? 1 : -1))

// The frame around every page.
import { Activity, Boxes, LayoutDashboard, LogOut, Moon, Plus, Search, Sun, UserRound } from 'lucide-react'
import { Component, type ReactNode, useEffect, useState } from 'react'
import { flushSync } from 'react-dom'
import { Link, Redirect, Route, Router, Switch, useLocation } from 'wouter'

import { ActionsProvider } from './actions/context'
import { problemOf } from './api/client'
import { FleetPage } from './fleet/page'
import { useFleet, useFleetState } from './fleet/hooks'
import type { Connection } from './fleet/stream'
import { OperationsPage } from './operations/page'
import { OverviewPage } from './overview/page'
import { Palette } from './palette'
import { Gate, LoginDialog } from './session/login'
import { useBackends, useSession } from './session/session'
import { Button, Menu, ProblemNote, useTitle } from './ui/parts'
import { setTheme, useDark } from './ui/theme'
import { VMPage } from './vm/page'

export function App() {
  return (
    <Router base="/ui">
      <Gate>
        <FleetRunner>
          <ActionsProvider>
            <Frame />
          </ActionsProvider>
        </FleetRunner>
      </Gate>
    </Router>
  )
}

/** The fleet is read while somebody is logged in, and anew after each login. */
function FleetRunner({ children }: { children: ReactNode }) {
  const fleet = useFleet()
  const { session, generation } = useSession()
  const loggedIn = Boolean(session)
  useEffect(() => {
    if (!loggedIn) return
    fleet.start()
    return () => fleet.end()
  }, [fleet, loggedIn, generation])
  return children
}

const pages = [
  { path: '/', label: 'Overview', Icon: LayoutDashboard },
  { path: '/vms', label: 'Fleet', Icon: Boxes },
  { path: '/operations', label: 'Operations', Icon: Activity },
]

function Frame() {
  const [palette, setPalette] = useState(false)
  const [path] = useLocation()
  useArrival(path)
  useShortcuts(() => setPalette(true))
  return (
    <div className="frame">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="top">
        <Link href="/" className="brand">
          <img src="/ui/icon.svg" width="24" height="24" alt="" />
          <span>VM console</span>
        </Link>
        <Nav />
        <div className="top-end">
          <button type="button" className="palette-button" onClick={() => setPalette(true)}>
            <Search size={15} aria-hidden />
            <span className="palette-hint">Find or do</span>
            <kbd>Ctrl K</kbd>
          </button>
          <Live />
          <ThemeButton />
          <AccountMenu />
        </div>
      </header>
      <LoginsEnded />
      <main id="main" tabIndex={-1}>
        <Mishap key={path}>
          <Switch>
            <Route path="/" component={OverviewPage} />
            <Route path="/vms" component={FleetPage} />
            <Route path="/vms/:id">{({ id }) => <VMPage key={id} id={id} />}</Route>
            <Route path="/operations" component={OperationsPage} />
            <Route>
              <NotFound />
            </Route>
          </Switch>
        </Mishap>
      </main>
      <Palette open={palette} setOpen={setPalette} />
    </div>
  )
}

/** A new page begins at its top, and takes the focus if it was in what is gone. */
function useArrival(path: string) {
  useEffect(() => {
    const main = document.getElementById('main')
    if (main) main.scrollTop = 0
    if (document.activeElement === document.body) main?.focus({ preventScroll: true })
  }, [path])
}

/** A mistake in one page does not take the others away. */
class Mishap extends Component<{ children: ReactNode }, { thrown?: unknown }> {
  override state: { thrown?: unknown } = {}

  static getDerivedStateFromError(thrown: unknown) {
    return { thrown }
  }

  override render() {
    if (this.state.thrown === undefined) return this.props.children
    return (
      <div className="page">
        <ProblemNote problem={problemOf(this.state.thrown)} retry={() => this.setState({ thrown: undefined })} />
      </div>
    )
  }
}

function NotFound() {
  useTitle('No such page')
  const [path] = useLocation()
  if (path.endsWith('/') && path !== '/') return <Redirect to={path.replace(/\/+$/, '') || '/'} replace />
  return (
    <div className="page">
      <h1>There is no such page</h1>
      <p>
        <Link href="/">Go to the overview</Link>
      </p>
    </div>
  )
}

function Nav() {
  const [path] = useLocation()
  return (
    <nav className="nav" aria-label="Pages">
      {pages.map(({ path: to, label, Icon }) => {
        const here = to === '/' ? path === '/' : path.startsWith(to)
        return (
          <Link key={to} href={to} aria-current={here ? 'page' : undefined}>
            <Icon size={17} aria-hidden />
            <span>{label}</span>
          </Link>
        )
      })}
    </nav>
  )
}

const connections: Record<Connection, [tone: string, word: string, about: string]> = {
  live: ['good', 'Live', 'What happens is shown as it happens.'],
  connecting: ['busy', 'Connecting', 'What happens is not shown yet.'],
  lost: ['bad', 'Reconnecting', 'The connection is lost. What is shown may be old.'],
  asleep: ['off', 'Asleep', 'Nobody looks at this tab: it goes on when you do.'],
  ended: ['bad', 'Logged out', 'Log in again to see what happens.'],
}

function Live() {
  const { connection } = useFleetState()
  const [tone, word, about] = connections[connection]
  return (
    <span className="live" data-tone={tone} title={about} role="status">
      <span className="live-dot" aria-hidden />
      <span className="live-word">{word}</span>
    </span>
  )
}

function ThemeButton() {
  const dark = useDark()
  return (
    <button
      type="button"
      className="icon-button"
      onClick={() => setTheme(dark ? 'light' : 'dark')}
      aria-label={dark ? 'Light theme' : 'Dark theme'}
      title={dark ? 'Light theme' : 'Dark theme'}
    >
      {dark ? <Sun size={17} /> : <Moon size={17} />}
    </button>
  )
}

function AccountMenu() {
  const { session, logOut } = useSession()
  const { data: backends = [] } = useBackends()
  const [adding, setAdding] = useState<string>()
  const logins = session?.logins ?? []
  const others = backends.filter(b => !logins.some(l => l.backend === b.id))
  const nameOf = (id: string) => backends.find(b => b.id === id)?.displayName ?? id
  return (
    <>
      <Menu
        bare
        label="Logins"
        button={<UserRound size={17} />}
        groups={[
          {
            title: 'Logged in',
            entries: logins.map(l => ({
              key: l.backend,
              label: (
                <>
                  <LogOut size={15} />
                  {nameOf(l.backend)}: log {l.user.displayName} out
                </>
              ),
              run: () => void logOut(logins.length > 1 ? l.backend : undefined),
            })),
          },
          {
            title: 'Add a login',
            entries: others.map(b => ({
              key: b.id,
              label: (
                <>
                  <Plus size={15} />
                  {b.displayName}
                </>
              ),
              run: () => setAdding(b.id),
            })),
          },
          {
            title: ' ',
            entries:
              logins.length > 1
                ? [
                    {
                      key: 'all',
                      label: (
                        <>
                          <LogOut size={15} />
                          Log out everywhere
                        </>
                      ),
                      run: () => void logOut(),
                    },
                  ]
                : [],
          },
        ]}
      />
      <LoginDialog
        key={adding}
        open={adding !== undefined}
        onClose={() => setAdding(undefined)}
        first={adding}
        title="Log in at one more backend"
      />
    </>
  )
}

/** Says which backend has ended its login, and offers to log in there again. */
function LoginsEnded() {
  const { session, ended, asked, ask } = useSession()
  const { unreachable } = useFleetState()
  const told = unreachable.filter(u => u.problem.code === 'BACKEND_SESSION_ENDED').map(u => u.backend)
  const all = session ? [...new Set([...ended, ...told])] : []
  return (
    <>
      {all.map(backend => (
        <div key={backend} className="banner" role="alert">
          <span>
            The login at <strong>{backend}</strong> has ended. What is shown of it may be old.
          </span>
          <Button small onClick={() => ask(backend)}>
            Log in again
          </Button>
        </div>
      ))}
      <LoginDialog key={asked} open={asked !== undefined} onClose={() => ask(undefined)} first={asked || all[0]} title="Log in again" />
    </>
  )
}

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))

function useShortcuts(openPalette: () => void) {
  const [path, go] = useLocation()
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault()
        openPalette()
      } else if (event.key === '/' && !event.ctrlKey && !event.metaKey && !typing(event.target)) {
        event.preventDefault()
        if (path !== '/vms') flushSync(() => go('/vms')) // what is typed next belongs into the field
        document.querySelector<HTMLInputElement>('#fleet-search')?.focus()
      }
    }
    document.addEventListener('keydown', press)
    return () => document.removeEventListener('keydown', press)
  }, [openPalette, path, go])
}

// Logging in: a page of its own at first, a window over the page when a login has ended.
import { useQuery } from '@tanstack/react-query'
import { LogIn } from 'lucide-react'
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react'

import { api, type Backend, body, type Problem, problemOf } from '../api/client'
import { Button, Dialog, Field, Loading, ProblemNote } from '../ui/parts'
import { useBackends, useSession } from './session'

function LoginForm({ backends, first, done }: { backends: readonly Backend[]; first?: string | undefined; done?(): void }) {
  const { logIn } = useSession()
  const [backend, setBackend] = useState(first ?? backends[0]?.id ?? '')
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<Problem>()
  const username = useRef<HTMLInputElement>(null)
  useEffect(() => username.current?.focus(), [])

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = event.currentTarget
    const data = new FormData(form)
    setBusy(true)
    setProblem(undefined)
    try {
      await logIn(backend, String(data.get('username')), String(data.get('password')))
      form.reset()
      done?.()
    } catch (thrown) {
      setProblem(problemOf(thrown))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form className="form" onSubmit={event => void submit(event)}>
      <Field label="Backend">
        {props => (
          <select {...props} name="backend" value={backend} onChange={e => setBackend(e.target.value)}>
            {backends.map(b => (
              <option key={b.id} value={b.id}>
                {b.displayName} ({b.id})
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="User name">
        {props => (
          <input {...props} ref={username} name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} required />
        )}
      </Field>
      <Field label="Password">
        {props => <input {...props} name="password" type="password" autoComplete="current-password" required />}
      </Field>
      {problem && <ProblemNote problem={problem} />}
      <Button type="submit" tone="main" disabled={busy}>
        <LogIn size={16} />
        {busy ? 'Logging in…' : 'Log in'}
      </Button>
    </form>
  )
}

function LoginPage() {
  const { data, error, refetch } = useQuery({
    queryKey: ['loginBackends'],
    queryFn: async () => (await body(api.GET('/backends'))).backends,
  })
  return (
    <main className="login">
      <div className="login-box">
        <img src="/ui/icon.svg" width="40" height="40" alt="" />
        <h1>VM console</h1>
        <p className="hint">Log in as a user of a backend. More backends can be added afterwards.</p>
        {error ? (
          <ProblemNote problem={problemOf(error)} retry={() => void refetch()} />
        ) : data ? (
          <LoginForm backends={data} />
        ) : (
          <Loading lines={5} />
        )}
        <p className="hint">
          <a href="/docs">API reference</a>
        </p>
      </div>
    </main>
  )
}

/** A window to log in at one backend more, or again where a login has ended. */
export function LoginDialog({
  open,
  onClose,
  first,
  title,
  about,
}: {
  open: boolean
  onClose(): void
  first?: string | undefined
  title: string
  about?: ReactNode
}) {
  const { data = [] } = useBackends()
  return (
    <Dialog open={open} onClose={onClose} title={title}>
      {about}
      {data.length > 0 ? <LoginForm backends={data} first={first} done={onClose} /> : <Loading />}
    </Dialog>
  )
}

/** Shows the page to those who are logged in. One whose login has ended is asked again, over the page. */
export function Gate({ children }: { children: ReactNode }) {
  const { session, error, retry } = useSession()
  const [wasIn, setWasIn] = useState(false)
  if (session && !wasIn) setWasIn(true)
  const { data } = useQuery({
    queryKey: ['loginBackends'],
    queryFn: async () => (await body(api.GET('/backends'))).backends,
    enabled: session === null && wasIn,
  })
  if (session === undefined) {
    return (
      <main className="login">
        {error ? (
          <div className="login-box">
            <ProblemNote problem={problemOf(error)} retry={retry} />
          </div>
        ) : null}
      </main>
    )
  }
  if (session === null && !wasIn) return <LoginPage />
  return (
    <>
      {children}
      <Dialog open={session === null} onClose={() => undefined} title="Log in again" closable={false}>
        <p>The session has ended. The page stays as it is.</p>
        {data ? <LoginForm backends={data} /> : <Loading />}
      </Dialog>
    </>
  )
}

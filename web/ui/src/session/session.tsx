// Who is logged in where. The token itself is in a cookie that no script can read.
import { QueryClient, useQuery, useQueryClient } from '@tanstack/react-query'
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react'

import { api, type Backend, body, onLoginEnded, Refusal, type Session } from '../api/client'

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      retry: (count, error) => count < 2 && error instanceof Refusal && error.problem.retryable,
      refetchOnWindowFocus: false,
    },
  },
})

async function readSession(): Promise<Session | null> {
  try {
    return await body(api.GET('/sessions/current'))
  } catch (thrown) {
    if (thrown instanceof Refusal && thrown.problem.status === 401) return null
    throw thrown
  }
}

const sessionKey = ['session']
export const backendsKey = ['backends']

interface SessionState {
  session: Session | null | undefined // undefined: not known yet
  error: Error | null
  /** The names of backends whose login has ended although the session goes on. */
  ended: string[]
  /** Grows with each login: what is shown has to be read anew. */
  generation: number
  /** Where one is asked to log in again, over the page; "" is wherever a login has ended. */
  asked: string | undefined
  ask(backend: string | undefined): void
  logIn(backend: string, username: string, password: string): Promise<void>
  logOut(backend?: string): Promise<void>
  retry(): void
}

const Context = createContext<SessionState | null>(null)

export function useSession(): SessionState {
  const state = useContext(Context)
  if (!state) throw new Error('useSession outside of SessionProvider')
  return state
}

const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('session') : undefined

export function SessionProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient()
  const {
    data: session,
    error,
    refetch,
  } = useQuery({
    queryKey: sessionKey,
    queryFn: readSession,
    staleTime: Infinity,
    refetchOnWindowFocus: 'always',
  })
  const [ended, setEnded] = useState<string[]>([])
  const [generation, setGeneration] = useState(0)
  const [asked, ask] = useState<string>()

  useEffect(
    () =>
      onLoginEnded(problem => {
        if (problem.code === 'UNAUTHENTICATED') client.setQueryData(sessionKey, null)
        const backend = problem.backend?.id
        if (backend) setEnded(all => (all.includes(backend) ? all : [...all, backend]))
      }),
    [client],
  )

  useEffect(() => {
    if (!channel) return
    channel.onmessage = () => void client.refetchQueries({ queryKey: sessionKey }).then(() => setGeneration(n => n + 1))
    return () => void (channel.onmessage = null)
  }, [client])

  const changed = useCallback(
    async (next: Session | null) => {
      await client.cancelQueries({ queryKey: sessionKey })
      client.setQueryData(sessionKey, next)
      setGeneration(n => n + 1)
      void client.invalidateQueries({ predicate: q => q.queryKey[0] !== sessionKey[0] })
      channel?.postMessage('changed')
    },
    [client],
  )

  const logIn = useCallback(
    async (backend: string, username: string, password: string) => {
      const credentials = { backend, username, password }
      const current = client.getQueryData<Session | null>(sessionKey)
      let next: Session
      if (current) next = await body(api.POST('/sessions/current/logins', { body: credentials }))
      else {
        next = await body(api.POST('/sessions', { params: { query: { cookie: true } }, body: credentials }))
        await checkCookie()
      }
      setEnded(all => all.filter(name => name !== backend))
      await changed(next)
    },
    [client, changed],
  )

  const logOut = useCallback(
    async (backend?: string) => {
      try {
        if (backend) await api.DELETE('/sessions/current/logins/{backend}', { params: { path: { backend } } })
        else await api.DELETE('/sessions/current')
      } catch (thrown) {
        if (!(thrown instanceof Refusal) || thrown.problem.status !== 401) throw thrown
      }
      if (backend) return changed(await readSession())
      channel?.postMessage('changed')
      location.assign('/ui/') // so that nothing of this user is left in the page
    },
    [client, changed],
  )

  const state = useMemo(
    () => ({ session, error, ended, generation, asked, ask, logIn, logOut, retry: () => void refetch() }),
    [session, error, ended, generation, asked, logIn, logOut, refetch],
  )
  return <Context value={state}>{children}</Context>
}

/** Some browsers keep no Secure cookie of a page that came over plain HTTP, and say nothing. */
async function checkCookie() {
  if (await readSession()) return
  throw new Refusal({
    type: 'about:blank',
    title: 'The browser did not keep the session',
    status: 0,
    detail: 'The login was right, but this browser keeps no secure cookie here. Open the console over HTTPS.',
    code: 'UNAUTHENTICATED',
    retryable: false,
    requestId: '',
  })
}

export function useBackends() {
  const { session } = useSession()
  return useQuery({
    queryKey: [...backendsKey, session ? session.logins.map(l => l.backend).join() : ''],
    queryFn: async (): Promise<Backend[]> => (await body(api.GET('/backends'))).backends,
    staleTime: 60_000,
    placeholderData: (before: Backend[] | undefined) => before,
  })
}

// The small parts that every page is made of.
import * as Ariakit from '@ariakit/react'
import { Check, Copy, X } from 'lucide-react'
import { type ComponentProps, type ReactNode, useCallback, useEffect, useId, useMemo, useState, useSyncExternalStore } from 'react'

import type { Problem } from '../api/client'
import { useSession } from '../session/session'

/** Names the page in the browser's own lists. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · VM console`
  }, [title])
}

/** Whether the window is as a media query wants it. */
export function useMedia(query: string): boolean {
  const media = useMemo(() => window.matchMedia(query), [query])
  const subscribe = useCallback(
    (tell: () => void) => {
      media.addEventListener('change', tell)
      return () => media.removeEventListener('change', tell)
    },
    [media],
  )
  return useSyncExternalStore(subscribe, () => media.matches)
}

export function Button({
  tone = 'plain',
  small,
  ...props
}: ComponentProps<'button'> & { tone?: 'plain' | 'main' | 'danger' | 'bare'; small?: boolean }) {
  return <button type="button" {...props} className={`button ${props.className ?? ''}`} data-tone={tone} data-small={small || undefined} />
}

/** A window over the page. It takes the focus, and gives it back. */
export function Dialog({
  open,
  onClose,
  title,
  children,
  footer,
  wide,
  closable = true,
}: {
  open: boolean
  onClose(): void
  title: string
  children: ReactNode
  footer?: ReactNode
  wide?: boolean
  closable?: boolean
}) {
  return (
    <Ariakit.Dialog
      open={open}
      onClose={onClose}
      backdrop={<div className="backdrop" />}
      className="dialog"
      unmountOnHide
      data-wide={wide || undefined}
      hideOnEscape={closable}
      hideOnInteractOutside={event => closable && !(event.target as Element).closest('.dialog, .toasts')}
    >
      <header className="dialog-head">
        <Ariakit.DialogHeading className="dialog-title">{title}</Ariakit.DialogHeading>
        {closable && (
          <Ariakit.DialogDismiss className="icon-button" aria-label="Close">
            <X size={18} />
          </Ariakit.DialogDismiss>
        )}
      </header>
      <div className="dialog-body">{children}</div>
      {footer && <footer className="dialog-foot">{footer}</footer>}
    </Ariakit.Dialog>
  )
}

export interface MenuEntry {
  key: string
  label: ReactNode
  danger?: boolean
  run(): void
}

export function Menu({
  label,
  button,
  entries,
  groups,
  bare,
}: {
  label?: string // where the button has no words
  button: ReactNode
  entries?: readonly MenuEntry[]
  groups?: readonly { title: string; entries: readonly MenuEntry[] }[]
  bare?: boolean
}) {
  const all = groups ?? [{ title: '', entries: entries ?? [] }]
  return (
    <Ariakit.MenuProvider placement="bottom-end">
      <Ariakit.MenuButton className={bare ? 'icon-button' : 'button'} {...(label ? { 'aria-label': label } : {})}>
        {button}
      </Ariakit.MenuButton>
      <Ariakit.Menu className="menu" gutter={4} portal unmountOnHide>
        {all
          .filter(g => g.entries.length > 0)
          .map(group => (
            <Ariakit.MenuGroup key={group.title} className="menu-group">
              {group.title && <Ariakit.MenuGroupLabel className="menu-label">{group.title}</Ariakit.MenuGroupLabel>}
              {group.entries.map(entry => (
                <Ariakit.MenuItem key={entry.key} className="menu-item" data-danger={entry.danger || undefined} onClick={entry.run}>
                  {entry.label}
                </Ariakit.MenuItem>
              ))}
            </Ariakit.MenuGroup>
          ))}
      </Ariakit.Menu>
    </Ariakit.MenuProvider>
  )
}

export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: string
  hint?: ReactNode
  error?: string | undefined
  children(props: { id: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean }): ReactNode
}) {
  const id = useId()
  const about = hint || error ? `${id}-about` : undefined
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': about, 'aria-invalid': error !== undefined })}
      {about && (
        <p id={about} className={error ? 'field-error' : 'hint'}>
          {error ?? hint}
        </p>
      )}
    </div>
  )
}

/** What went wrong, in the gateway's words, and what can be done. */
export function ProblemNote({ problem, retry }: { problem: Problem; retry?: (() => void) | undefined }) {
  const { ask } = useSession()
  return (
    <div className="note" data-tone="bad" role="alert">
      <p className="note-title">{problem.title}</p>
      {problem.detail && problem.detail !== problem.title && <p>{problem.detail}</p>}
      {problem.errors && (
        <ul>
          {problem.errors.map(e => (
            <li key={(e.pointer ?? e.parameter ?? '') + e.detail}>
              <code>{e.pointer ?? e.parameter}</code> {e.detail}
            </li>
          ))}
        </ul>
      )}
      {problem.backend?.message && (
        <p className="said">
          The backend said: <code>{problem.backend.message}</code>
        </p>
      )}
      {problem.outcomeUnknown && <p>It is not known whether the change was made: look before trying again.</p>}
      {problem.applied && problem.applied.length > 0 && (
        <p>
          Made: {problem.applied.join(', ')}. Not made: {problem.notApplied?.join(', ')}.
        </p>
      )}
      <p className="note-foot">
        <span>
          <code>{problem.code}</code>
          {problem.requestId && (
            <>
              {' '}
              · request <code>{problem.requestId}</code>
            </>
          )}
        </span>
        {problem.code === 'BACKEND_SESSION_ENDED' && (
          <Button small onClick={() => ask(problem.backend?.id ?? '')}>
            Log in again
          </Button>
        )}
        {retry && (
          <Button small onClick={retry}>
            Try again
          </Button>
        )}
      </p>
    </div>
  )
}

export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [done, setDone] = useState(false)
  useEffect(() => {
    if (!done) return
    const timer = setTimeout(() => setDone(false), 2000)
    return () => clearTimeout(timer)
  }, [done])
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={done ? 'Copied' : label}
      title={label}
      onClick={() => void navigator.clipboard.writeText(text).then(() => setDone(true))}
    >
      {done ? <Check size={15} /> : <Copy size={15} />}
    </button>
  )
}

export function Code({ text, label }: { text: string; label: string }) {
  return (
    <div className="code">
      <pre tabIndex={0} aria-label={label}>
        {text}
      </pre>
      <CopyButton text={text} label={`Copy: ${label}`} />
    </div>
  )
}

/** Names and values. What is not known is not shown. */
export function Facts({ facts }: { facts: readonly (readonly [name: string, value: ReactNode])[] }) {
  const known = facts.filter(([, value]) => value !== undefined && value !== '' && value !== null && value !== false)
  if (known.length === 0) return <p className="empty">Nothing is known.</p>
  return (
    <dl className="facts">
      {known.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export function Card({ title, children, aside }: { title: string; children: ReactNode; aside?: ReactNode }) {
  const id = useId()
  return (
    <section className="card" aria-labelledby={id}>
      <header className="card-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}

export function Meter({ value, most, label, text }: { value: number; most: number; label: string; text: string }) {
  const share = most > 0 ? Math.min(Math.max(value / most, 0), 1) : 0
  return (
    <div className="meter">
      <div
        className="meter-track"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(share * 100)}
        aria-valuetext={text}
      >
        <div className="meter-fill" data-high={share > 0.9 || undefined} style={{ inlineSize: `${share * 100}%` }} />
      </div>
      <span className="meter-text">{text}</span>
    </div>
  )
}

export const Loading = ({ lines = 4 }: { lines?: number }) => (
  <div className="skeleton" role="status" aria-label="Loading">
    {Array.from({ length: lines }, (_, i) => (
      <span key={i} />
    ))}
  </div>
)

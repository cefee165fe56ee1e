// Light or dark: the system's choice, until a person makes one.
import { useSyncExternalStore } from 'react'

import { useMedia } from './parts'

const root = document.documentElement
const listeners = new Set<() => void>()

const subscribe = (listener: () => void) => {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

export function useDark(): boolean {
  const chosen = useSyncExternalStore(subscribe, () => root.dataset['theme'])
  const system = useMedia('(prefers-color-scheme: dark)')
  return chosen ? chosen === 'dark' : system
}

export function setTheme(theme: 'light' | 'dark') {
  root.dataset['theme'] = theme
  listeners.forEach(tell => tell())
  try {
    localStorage.setItem('theme', theme)
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

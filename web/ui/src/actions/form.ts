// What is typed into an action's form, as the contract wants it.
import type { Values } from './call'
import type { Action, FieldName } from './catalog'

export type FormState = Partial<Record<FieldName, string>>

const MiB = 1024 * 1024

/** What a form says, in the shapes that the contract wants. */
export function valuesOf(action: Action, form: FormState): Values {
  const values: Record<string, unknown> = {}
  for (const field of action.fields) {
    const text = form[field]
    if (!text) continue
    if (field === 'vcpus') values['vcpus'] = Number(text)
    else if (field === 'memory') values['memory'] = { dynamicMaxBytes: Number(text) * MiB }
    else if (field === 'live') values['live'] = text === 'true'
    else values[field] = text
  }
  return values
}

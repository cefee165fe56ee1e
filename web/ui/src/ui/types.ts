import type { Schemas } from '../api/client'

export type State = Schemas['State']
export type OperationState = Schemas['OperationState']

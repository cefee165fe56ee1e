/**
 * A client of the VM gateway. Paths, parameters, bodies and answers are those of the contract, which
 * `schema.d.ts` is generated from; what a generator cannot do is here: a session, errors with their code,
 * the end of an operation, lists of any length, and events that miss nothing.
 */
import { type Client } from 'openapi-fetch';
import type { Code, Credentials, Event, Operation, operations, paths, Plan, Problem, Undecodable, Unreachable, VM, VMSummary } from '../schema.js';
export type * from '../schema.js';
export type ListQuery = NonNullable<operations['listVms']['parameters']['query']>;
export type StreamQuery = Omit<ListQuery, 'orderBy' | 'pageSize' | 'pageToken' | 'pretty'>;
export type EventsQuery = NonNullable<operations['streamEvents']['parameters']['query']>;
export interface Options {
    /** The token of a session that exists. Without one, a page's cookie counts. */
    token?: string;
    /** Makes the requests instead of the platform's fetch. */
    fetch?: (request: Request) => Promise<Response>;
}
/**
 * An answer that is no success: nearly always a problem document of the gateway. One of a proxy in between
 * has a status, and no code.
 */
export declare class ProblemError extends Error {
    readonly status: number;
    readonly code: Code | undefined;
    readonly problem: Problem | undefined;
    /** How long to wait, in milliseconds, if that was said. */
    readonly retryAfter: number | undefined;
    constructor(status: number, problem: Problem | undefined, retryAfter?: number);
}
/** The gateway could not be reached, or the connection was lost. */
export declare class ConnectionError extends Error {
    constructor(message: string, options?: ErrorOptions);
}
/** An operation that has ended, but not as SUCCEEDED. Its cause, if the gateway says why, is a ProblemError. */
export declare class OperationError extends Error {
    readonly operation: Operation;
    constructor(operation: Operation);
}
/** All VMs of a list have come, except for what this names. */
export declare class MissingError extends Error {
    readonly unreachable: Unreachable[];
    /** 100 for each page at most. */
    readonly undecodable: Undecodable[];
    readonly undecodableTotal: number;
    constructor(unreachable: Unreachable[], undecodable: Undecodable[], undecodableTotal: number);
}
/** The body of an answer; what the gateway refuses has been thrown: `await data(gateway.api.GET('/backends'))`. */
export declare function data<T>(reply: Promise<{
    data?: T;
}>): Promise<T>;
/** The answer to a call with `validateOnly: true`, which changes nothing. */
export declare function plan(reply: Promise<{
    data?: unknown;
}>): Promise<Plan>;
/** One session at a gateway. */
export declare class Gateway {
    #private;
    /** Each call of the contract, by method and path. What is no success is thrown, as a ProblemError. */
    readonly api: Client<paths, 'application/json'>;
    /** @param url such as https://gateway.example.org; in a page of the gateway's own, '' */
    constructor(url: string, { token, fetch }?: Options);
    /** Begins a session. `DELETE /sessions/current` ends it; `POST /sessions/current/logins` adds another backend. */
    static logIn(url: string, credentials: Credentials, options?: Options): Promise<Gateway>;
    /**
     * The operation as it has ended. An end that is not SUCCEEDED is thrown, as an OperationError. What may
     * pass, such as a backend that cannot be reached, does not end the wait.
     */
    wait(operation: Operation, { signal }?: {
        signal?: AbortSignal;
    }): Promise<Operation>;
    /** All VMs that fit, page by page, each when the caller comes to it. */
    vms(query?: ListQuery, { signal }?: {
        signal?: AbortSignal;
    }): Listing;
    /**
     * All VMs that fit in one call, as the backends send them: the fastest for very many. It takes no order and
     * no pages; whoever lets it wait for 30 seconds is cut off, which is an error.
     */
    streamVms(query?: StreamQuery, { signal }?: {
        signal?: AbortSignal;
    }): Listing;
    /**
     * The stream of events. It answers when the stream stands: nothing that happens from then on is missed, and
     * nothing since `cursor`, if there is one.
     */
    follow(query?: EventsQuery, { signal }?: {
        signal?: AbortSignal;
    }): Promise<Stream>;
}
type Missing = Pick<VMSummary, 'unreachable' | 'undecodable' | 'undecodableTotal'>;
/** A list of VMs, however many. It is read once. If something is missing, a MissingError comes last. */
export declare class Listing implements AsyncIterable<VM> {
    #private;
    /** Once all have come: from where `follow` goes on without a gap. */
    cursor: string | undefined;
    constructor(read: (listing: Listing) => AsyncGenerator<VM, Missing>);
    [Symbol.asyncIterator](): AsyncGenerator<VM, void>;
}
/**
 * What happens, as it happens. When the connection is lost, the events go on behind the last one, as often as
 * it takes. One of the type `resync` says that the gateway can no longer tell all: read the VMs of its backend
 * anew, and go on. They end with an error: the signal's, or the gateway's when it lets nobody come back, as
 * at the end of the session. Who leaves the loop closes the stream.
 */
export declare class Stream implements AsyncIterable<Event> {
    #private;
    /** Where the stream stands: behind the last event. Another one goes on there with it. */
    cursor: string | undefined;
    constructor(connect: (lastEventId: string | undefined, ending: AbortSignal) => Promise<Response>, signal?: AbortSignal);
    /** Ends the stream. */
    close(): void;
    /** Connects, and reads up to where the stream stands. `follow` has done so. */
    open(): Promise<void>;
    [Symbol.asyncIterator](): AsyncGenerator<Event, void>;
}

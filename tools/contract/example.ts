// A first session in TypeScript: log in, list, start what is stopped, and wait for it. The types are
// generated from the contract (npm run client); nothing but fetch is needed at run time.

import type { components } from "./generated/gateway.js";

type Schemas = components["schemas"];

/** A problem document, as the gateway answers every error. */
export class GatewayError extends Error {
  constructor(readonly problem: Schemas["Problem"]) {
    super(`${problem.code}: ${problem.detail ?? problem.title}`);
  }
}

/** One session at one gateway. */
export class Gateway {
  private constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  static async logIn(url: string, credentials: Schemas["Credentials"]): Promise<Gateway> {
    const session = await call<Schemas["Session"]>(`${url}/sessions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(credentials),
    });
    if (session.token === undefined) {
      throw new Error("the session came without a token");
    }
    return new Gateway(url, session.token);
  }

  /** Every VM that satisfies the filter, page by page. */
  async *vms(filter: string): AsyncGenerator<Schemas["VM"]> {
    const query = new URLSearchParams({ filter });
    for (;;) {
      const page = await this.request<Schemas["VMList"]>("GET", `/vms?${query}`);
      for (const { backend, problem } of page.unreachable) {
        console.warn(`${backend} is missing from the list: ${problem.title}`);
      }
      yield* page.vms;
      if (page.nextPageToken === undefined) {
        return;
      }
      query.set("pageToken", page.nextPageToken);
    }
  }

  start(vm: string, args: Schemas["StartArgs"] = {}): Promise<Schemas["Operation"]> {
    return this.request("POST", `/vms/${vm}:start`, args);
  }

  /** Waits until an operation has ended; one that has FAILED throws its problem. */
  async finished(operation: Schemas["Operation"]): Promise<Schemas["Operation"]> {
    while (operation.state === "RUNNING") {
      operation = await this.request("GET", `/operations/${operation.id}?waitSeconds=60`);
    }
    if (operation.error !== undefined) {
      throw new GatewayError(operation.error);
    }
    return operation;
  }

  async logOut(): Promise<void> {
    await this.request<undefined>("DELETE", "/sessions/current");
  }

  private request<T>(method: string, path: string, body?: object): Promise<T> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.token}` };
    if (body === undefined) {
      return call<T>(this.url + path, { method, headers });
    }
    headers["Content-Type"] = "application/json";
    return call<T>(this.url + path, { method, headers, body: JSON.stringify(body) });
  }
}

async function call<T>(url: string, init: RequestInit): Promise<T> {
  const response = await fetch(url, init);
  const text = await response.text();
  const body: unknown = text === "" ? undefined : JSON.parse(text);
  if (!response.ok) {
    throw new GatewayError(body as Schemas["Problem"]);
  }
  return body as T;
}

/** Starts every stopped VM of one user. */
export async function startStopped(url: string, credentials: Schemas["Credentials"]): Promise<void> {
  const gateway = await Gateway.logIn(url, credentials);
  try {
    for await (const vm of gateway.vms('state = "STOPPED"')) {
      const operation = await gateway.finished(await gateway.start(vm.id));
      console.log(vm.displayName ?? vm.id, operation.state);
    }
  } finally {
    await gateway.logOut();
  }
}

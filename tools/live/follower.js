// follower.js URL TOKEN follows until it is killed.
import { EventSource } from 'eventsource'

const [url, token] = process.argv.slice(2)
const headers = { Authorization: `Bearer ${token}` }
new EventSource(`${url}/events`, { fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }) })

// Moves one running VM to another host, and watches it happen.
//
//     GATEWAY_PASSWORD=opennebula node migrate.js http://127.0.0.1:8080 one oneadmin
//
// This is JavaScript that TypeScript checks against the contract: npm run check
import process from 'node:process'

import { data, Gateway, MissingError } from 'vmgateway'

/** @param {string[]} args */
async function main([url, backend, username]) {
  if (!url || !backend || !username) throw new Error('usage: GATEWAY_PASSWORD=… node migrate.js URL BACKEND USER')
  const password = process.env['GATEWAY_PASSWORD'] ?? ''
  // region login
  const gateway = await Gateway.logIn(url, { backend, username, password })
  try {
    // endregion

    // region list
    const running = []
    try {
      for await (const vm of gateway.vms({ filter: 'state="RUNNING"', fields: 'displayName,host' })) {
        console.log('running:', vm.id, vm.displayName, 'on', vm.host?.displayName)
        running.push(vm)
      }
    } catch (error) {
      if (!(error instanceof MissingError)) throw error
      console.error(error.message) // the others are all there
    }
    // endregion
    const [vm] = running
    if (!vm) throw new Error('no VM is running')
    const { hosts } = await data(gateway.api.GET('/hosts', { params: { query: { backend: [backend] } } }))
    const host = hosts.find(({ id, state }) => id !== vm.host?.id && state === 'ENABLED')
    if (!host) throw new Error('there is no other host')

    // region follow
    // Listen before anything is asked for, so that nothing is missed.
    const events = await gateway.follow({ vm: [vm.id] })
    // endregion

    // region migrate
    const begun = await data(gateway.api.POST('/vms/{vm}:migrate', {
      params: { path: { vm: vm.id } },
      body: { host: host.id },
    }))
    const ended = await gateway.wait(begun) // throws an OperationError if it FAILED
    console.log('migrated:', vm.id, 'to', host.displayName)
    // endregion

    // region events
    for await (const { type, backend, vm, changed, operation } of events) {
      if (type === 'resync') console.log('event: read the VMs of', backend, 'anew')
      if (vm && changed) console.log('event:', type, vm.id, ...changed)
      if (operation) {
        console.log('event:', type, operation.verb, operation.state)
        if (operation.id === ended.id && operation.state === 'SUCCEEDED') break
      }
    }
    // endregion
  } finally {
    await gateway.api.DELETE('/sessions/current')
  }
}

await main(process.argv.slice(2)).catch(error => {
  console.error('migrate:', error.message)
  process.exitCode = 1
})

import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// While developing, the API is that of a gateway that runs already: `make run`.
const gateway = 'http://127.0.0.1:8080'
const api = ['backends', 'sessions', 'vms', 'hosts', 'operations', 'events', 'docs', 'openapi.json']

export default defineConfig({
  base: '/ui/',
  plugins: [react()],
  build: {
    target: ['chrome123', 'firefox121', 'safari17.5'], // the first with light-dark() in CSS
    license: { fileName: 'licenses.txt' }, // of what is in the bundle, as its licenses ask for
    assetsInlineLimit: 0, // the policy allows no data: URLs
    chunkSizeWarningLimit: 700, // in kB, of one file that is compressed to a third
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: Object.fromEntries(api.map(path => [`/${path}`, { target: gateway, changeOrigin: false }])),
  },
})

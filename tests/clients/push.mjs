// A client of isomorphic-git, for tests/other_clients.py: node push.mjs clone URL FOLDER, or push URL FOLDER SOURCE TARGET (SOURCE "": delete).
// The library lies in HERMES_CLIENTS, user and token in HERMES_USER and HERMES_TOKEN. What happens is told as lines of JSON.
import fs from 'node:fs'
import { createRequire } from 'node:module'

const load = createRequire(process.env.HERMES_CLIENTS + '/')
const git = load('isomorphic-git')
const http = load('isomorphic-git/http/node')

const tell = (kind, text) => process.stdout.write(JSON.stringify({ kind, text }) + '\n')
const [verb, url, dir, source, target] = process.argv.slice(2)
const how = {
  fs,
  http,
  dir,
  url,
  onMessage: (text) => tell('words', text),
  onAuth: () => {
    tell('asked', '')
    return { username: process.env.HERMES_USER, password: process.env.HERMES_TOKEN }
  },
}

try {
  if (verb === 'clone') {
    await git.clone(how)
  } else {
    const refs = { ref: source || target, remoteRef: target, delete: !source }
    await git.push({ ...how, ...refs })
  }
} catch (error) {
  const reasons = Object.values(error.data?.result?.refs ?? {}).map((each) => each.error)
  tell('refused', reasons.join('; ') || error.message)
}

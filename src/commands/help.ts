import { optionsHelp } from '../config/document.ts'
import type { CommandIo } from './io.ts'

const OVERVIEW = `Tollgate: the front door of an OpenTelemetry Collector

  tollgate [serve] [options]      run the gateway; a sandbox where nothing is configured
  tollgate check [options]        look at configuration, certificate, tokens and collector
      --send                      … and send one trace, one metric and one log through it
      --send-host NAME            the gateway's name for agents, where the certificate has several
      --send-ca FILE              the CA of its certificate, where Node.js does not know it
      --send-token-file FILE      a file with one token in plain
  tollgate token create|import|list|revoke
                                  the tokens that agents show
  tollgate rotate [status|abort]  replace tokens step by step, proved by who uses them
  tollgate cert dev               a CA and certificates for machines of your own
  tollgate cert extract           one certificate out of Traefik's acme.json, for the gateway
  tollgate cert status|renew      the certificate of the running gateway, and a new one by ACME
  tollgate bans list|add|lift     the addresses that are shut out
  tollgate restart [--state-dir DIR]
                                  replace the running gateway by a new one; no port closes
  tollgate headers --from PLACE   an agent's token as JSON headers, for tools on its machine
  tollgate healthcheck [options]  ask the running gateway whether it is ready: exit code 0 or 1
  tollgate help [command]
  tollgate version

Every option is also an environment variable (--max-body is TOLLGATE_MAX_BODY), and --NAME-file
reads its value from a file. Defaults are in parentheses.
`

/** `tollgate help`: the commands and every option. */
export async function runHelp(_argv: readonly string[], { stdout }: CommandIo): Promise<number> {
  stdout.write(`${OVERVIEW}\n${optionsHelp()}`)
  return 0
}

/** The options in words: the page of the documentation and the text of `tollgate help`. */
import { flagOf, GROUPS, type Option } from './option.ts'
import { OPTIONS } from './options.ts'

const HELP_INDENT = ' '.repeat(6)
const HELP_WIDTH = 92

/** What a group needs to be understood beyond its rows. */
const NOTES: Readonly<Partial<Record<(typeof GROUPS)[number], string>>> = {
  Collector:
    'Several URLs, separated by commas, share the load. A port left out is 4317 for gRPC and 4318 for HTTP. With neither a collector nor tokens configured, Tollgate starts a sandbox that shows what arrives; with tokens and no collector it does not start.',
  Tokens:
    'All of them may be used together; [token-sources.md](token-sources.md) has a page on each place. As `TOLLGATE_TOKENS_FILE` names the token set, `TOLLGATE_TOKENS` is the one option that cannot be read from a file of its own.',
  Vault:
    'Needed where a place begins with `vault:`. One way to log in: a token, AppRole (role id and secret id), or a JWT (file and role). AWS is reached as its own tools are: `AWS_REGION`, `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` and so on.',
  Budgets:
    'An address means an IPv4 address or the /64 of an IPv6 address. A budget of bytes may be used up at once for one second of its rate, and for one message of `TOLLGATE_MAX_BODY` at least.',
}

const INTRODUCTION = `# Configuration

<!-- Generated from src/config/options.ts: node src/config/write-document.ts -->

Every option is an environment variable and a flag of the same name: \`TOLLGATE_MAX_BODY=10MiB\` is \`--max-body 10MiB\` or \`--max-body=10MiB\`. A flag goes before its variable. A variable that is set but empty counts as not set.

\`TOLLGATE_…_FILE\` (and \`--…-file\`) reads the value from a file, for Docker and Kubernetes secrets: \`TOLLGATE_COLLECTOR_GRPC_FILE=/run/secrets/collector\`. This works for every option whose own name does not end in \`_FILE\`, except for \`TOLLGATE_TOKENS\`.

An unknown \`TOLLGATE_…\` variable, an unknown flag or a value that does not fit stops the start with exit code 64, and all mistakes are told at once. \`tollgate check\` looks at everything without starting.

How values are written:

| Form | Examples |
|---|---|
| duration | \`500ms\`, \`30s\`, \`5m\`, \`1h\`, \`90d\` – always with a unit |
| size | \`64MiB\` (1024²), \`10MB\` (1000²), \`512KiB\` – always with a unit |
| rate | \`100/s\`, \`6000/min\`, \`50/h\` |
| size/s | \`10MiB/s\`, \`600MB/min\` |
| host:port | \`127.0.0.1:4317\`, \`[::1]:4317\`, \`:4317\` (every address of the machine); port 0 takes a free one |
| CIDR | \`203.0.113.7\`, \`10.0.0.0/8\`, \`2001:db8::/48\` |
| path | relative paths start at the working directory |
| …, … | several, separated by commas |
`

/** The whole of `docs/configuration.md`. */
export function configurationPage(): string {
  const sections = GROUPS.map((group) => {
    const rows = rowsOf(group).map(
      (row) => `| \`${row.env}\` | ${cell(row.kind.form)} | ${defaultOf(row)} | ${row.about} |`,
    )
    const note = NOTES[group]
    return [
      `## ${group}`,
      '',
      '| Variable | Form | Default | Meaning |',
      '|---|---|---|---|',
      ...rows,
      ...(note === undefined ? [] : ['', note]),
      '',
    ].join('\n')
  })
  return `${INTRODUCTION}\n${sections.join('\n')}`
}

/** The options for a terminal: flag, form and default on one line, the sentence below. */
export function optionsHelp(): string {
  const sections = GROUPS.map((group) => {
    const rows = rowsOf(group).map((row) => {
      const standard = row.default === undefined ? '' : `  (${row.default})`
      return `  ${flagOf(row.env)} ${row.kind.form.replaceAll(' | ', '|')}${standard}\n${wrap(row.about)}`
    })
    return `${group}\n${rows.join('\n')}\n`
  })
  return sections.join('\n')
}

function rowsOf(group: (typeof GROUPS)[number]): readonly Option<unknown>[] {
  return Object.values<Option<unknown>>(OPTIONS).filter((row) => row.group === group)
}

function defaultOf({ default: text }: Option<unknown>): string {
  return text === undefined ? '–' : `\`${text}\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

function wrap(text: string): string {
  const lines: string[] = []
  let line = HELP_INDENT
  for (const word of text.split(' ')) {
    if (line.length + word.length > HELP_WIDTH && line !== HELP_INDENT) {
      lines.push(line.trimEnd())
      line = HELP_INDENT
    }
    line += `${word} `
  }
  return [...lines, line.trimEnd()].join('\n')
}

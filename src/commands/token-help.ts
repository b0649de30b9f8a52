/** What `tollgate token --help` prints. */
export const TOKEN_HELP = `Tokens are what agents show at the gate. The file holds their digests only.

  tollgate token create --holder NAME [options]   makes a token and prints it, once
  tollgate token import --holder NAME [options]   adds a token read from standard input
  tollgate token list [--stale TIME] [--json]     shows states and last uses, of the running
                                                  gateway's tokens or of those in the file
  tollgate token revoke ID [--now] [--json]       withdraws a token, from now on
  tollgate token remove ID [--force] [--json]     takes a token out of the file

Options of create and import:
  --holder NAME         who gets the token
  --expires-in TIME     valid for so long, from now or --not-before: 12h, 90d (default: no end)
  --expires-at DATE     or until then: 2027-01-31T00:00:00Z
  --not-before DATE     not valid before
  --scopes LIST         signals it may export: traces,metrics,logs,profiles (default: all)
  --allow-from LIST     addresses it may be used from: 203.0.113.7,10.0.0.0/8
  --rate RATE           requests: 50/s, 300/min, 1000/h, off (default: TOLLGATE_TOKEN_RATE)
  --burst N             requests at once after a pause (default: two seconds' worth)
  --bytes RATE          bytes: 10MiB/s, off (default: TOLLGATE_TOKEN_BYTES)
  --in-flight N         calls at once
  --label NAME=VALUE    a note; may be given several times

Options of list, revoke and remove:
  --stale TIME          lists only tokens not used for so long, or never: 7d
  --now                 has the running gateway read its tokens at once, and says whether it
                        refuses the token
  --force               removes a token though it was used in the last 7 days
  --state-dir DIR       the gateway's state directory (default: TOLLGATE_STATE_DIR, else .tollgate)

Options of all:
  --json                prints the result as JSON on standard output
  --file PATH           the token file (default: TOLLGATE_TOKENS_FILE, else the file in
                        TOLLGATE_TOKENS_SOURCE, else tokens.json in TOLLGATE_STATE_DIR,
                        else .tollgate/tokens.json)

list --file PATH shows that file with what the ledger in the state directory knows.
A running gateway takes a changed file up by itself within a second.
`

/** What `tollgate rotate --help` prints. */
export const ROTATE_HELP = `Replaces tokens, and loses nothing by it: the new token is accepted by every gateway before anybody has
it, and the old one is refused when the gateways have not seen it for a while.

  tollgate rotate --deliver PLACE [options]   begins a rotation, or goes on with the one under way
  tollgate rotate status [--json]             where rotations stand, and who still uses an old token
  tollgate rotate abort [--force | --keep]    goes back: old tokens stay, the new one is revoked
  tollgate rotate history [--json]            rotations that are over

A run does what can be done now and ends. Run it again, hourly from cron for instance:
  tollgate rotate --every 30d --deliver file:/var/lib/agent/token

  --holder NAME         whose token; may be given several times (default: the only holder there is)
  --all                 every holder with a token
  --every TIME          begins only where the newest token is older, or in the last third of its life
  --deliver PLACE       where the new token goes; may be given several times:
                          file:PATH, file:PATH#VARIABLE, exec:PROGRAM, vault:MOUNT/PATH#FIELD, aws:NAME,
                          keyring:SERVICE/USER, dokploy:…; {holder} in it becomes the holder's name
  --truth PLACE         where the token set is kept (default: the first of TOLLGATE_TOKENS_SOURCE that
                        can be written, else TOLLGATE_TOKENS_FILE, else tokens.json in the state directory)
  --gateway URL         the admin port of a gateway, such as http://10.0.0.5:9464; one for each instance
                        (default: local, the gateway that uses this state directory)
  --quiet TIME          an old token is refused when unused for so long (24h)
  --deadline TIME       … and at the latest so long after its retirement, used or not; or none (30d)
  --revoke-after TIME   from refused to revoked (24h)
  --accept-within TIME  how long a run waits for the gateways to accept the new token (5m)
  --wait                stays until the rotation is over
  --dry-run             says what would be done, looks whether it could be, and changes nothing
  --json                JSON instead of sentences
  --state-dir DIR       the state directory (default: TOLLGATE_STATE_DIR, or .tollgate)

Options of abort:
  --force               revokes the new token though somebody may have it
  --keep                keeps the new token valid beside the old one

Exit codes: 0 done, or waiting for its time; 75 something is away, run it again; 64, 65, 66, 69, 73, 77 as
in sysexits(3). A rotation under way keeps the options that it began with.
`

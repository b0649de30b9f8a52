# The images for amd64 and arm64, with an SBOM and provenance attached, to a registry:
#
#   REGISTRY=registry.example.com/me VERSION=0.1.0 docker buildx bake -f docker/bake.hcl --push
#
# for this machine alone, under the names that docker/compose.yml uses:
#
#   docker buildx bake -f docker/bake.hcl local
variable "REGISTRY" { default = "" }
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "unknown" }
variable "CREATED" { default = "unknown" }
# Other bases: a mirror, or a version pinned by digest.
variable "NODE_BUILD" { default = "node:24-trixie-slim" }
variable "NODE_RUNTIME" { default = "gcr.io/distroless/nodejs24-debian13:nonroot" }

group "default" { targets = ["tollgate", "backup"] }
group "local" { targets = ["tollgate-local", "backup-local"] }

target "common" {
  context = "."
  args = {
    NODE_BUILD   = NODE_BUILD
    NODE_RUNTIME = NODE_RUNTIME
    VERSION      = VERSION
    REVISION     = REVISION
    CREATED      = CREATED
  }
}

target "released" {
  inherits  = ["common"]
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=sbom", "type=provenance,mode=max"]
}

target "tollgate" {
  inherits   = ["released"]
  dockerfile = "docker/Dockerfile"
  tags       = [for tag in [VERSION, "latest"] : "${REGISTRY != "" ? "${REGISTRY}/" : ""}tollgate:${tag}"]
}

target "backup" {
  inherits   = ["released"]
  dockerfile = "docker/backup/Dockerfile"
  tags       = [for tag in [VERSION, "latest"] : "${REGISTRY != "" ? "${REGISTRY}/" : ""}tollgate-backup:${tag}"]
}

target "tollgate-local" {
  inherits   = ["common"]
  dockerfile = "docker/Dockerfile"
  tags       = ["tollgate:latest"]
}

target "backup-local" {
  inherits   = ["common"]
  dockerfile = "docker/backup/Dockerfile"
  tags       = ["tollgate-backup:latest"]
}

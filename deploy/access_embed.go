package deploy

import _ "embed" // access.yaml is part of the binary

// AccessYAML is the declared access to the shop's database: roles, logins, rights, row policies and expectations.
//
//go:embed access.yaml
var AccessYAML []byte

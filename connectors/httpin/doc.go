// Package httpin is the pipeline's front door: the HTTP API by which tenants hand images in and read what became of
// them, and by which teams hand in change events.
//
// An answer of 202 is a promise: the bytes are in staging and the record that claims them is acknowledged by every
// in-sync replica. Whatever goes wrong before that is an RFC 9457 problem, and nothing of the request remains but
// perhaps an unclaimed staging blob, which the purger takes after a day.
//
// The package decides nothing about an image's life: the worker does, and what it decided is read back from its
// changelog (see view.go). The door is therefore free of state that matters, and any number of processes may serve it.
package httpin

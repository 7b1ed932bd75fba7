// Package feed is the pipeline's other front door: it reads the company's own Kafka stream of images and hands each one
// in as an upload would have been, under the same rules (package intake).
//
// Nothing of the feed is lost and nothing is skipped: a record becomes a receipt in raw-images, or a dead letter with
// its bytes unchanged and the reason in its headers, and only then is its offset committed. When Kafka, staging or the
// schema registry is away, the bridge waits and begins again at the last commit. A record may therefore be carried over
// twice; its staging blob has a name that follows from where the record stands, so the second time is a repetition and
// not a second receipt.
package feed

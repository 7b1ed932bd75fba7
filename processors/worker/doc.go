// Package worker is the role that works on images: the stream application millrun-worker.
//
// It reads raw-images (receipts) and image-status, and keeps each image's life (events.Image) in the store "images",
// whose changelog the API builds its view from. One task owns an image_id, so it decides exactly once which receipt is
// the first, which are duplicates and which begin a new life.
//
// A receipt's way: fetch the bytes from staging and compare them with what was received; read the header, decode within
// bounds; make the thumbnail; hand the bytes to each step of the company's own code; put derivatives into staging; say
// processed-images. What is the image's own fault is rejected; what is ours is failed, with a dead letter; a step that
// fails becomes a dead letter of its own while the image goes on.
//
// Everything can be done again: derivatives have names that follow from the receipt, statuses the moments the store
// remembers, and a staging blob goes only after the status that makes it superfluous was read back from Kafka.
package worker

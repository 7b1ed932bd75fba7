// Package events is what the parts of the image pipeline say to each other: the records of raw-images, image-status
// and processed-images, the names they use, and an image's life as its one writer keeps it.
//
// The names are those the outside relies on; nothing here reads a clock, a socket (the schema registry apart) or a file.
package events

// Package images decides what is an image and turns it into pixels within bounds.
//
// Nothing is believed before it is checked: the format is what the bytes say, not a name or a media type; the size is
// read from the header before a pixel is decoded; pixels are decoded only within a budget of memory shared by all
// callers, under a deadline, and a decoder's panic is an error. JPEG, PNG, GIF and WebP (of both the first frame) are accepted,
// nothing else: other decoders have a record of faults and nobody asked for them.
package images

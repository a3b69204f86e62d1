import { RetryButton as RetryButton_116388da64b4530687567edcc304a588 } from '@gaff/payload/client'
import { CollectionCards as CollectionCards_f9c02e79a4aed9a3924487c0cd4cafb1 } from '@payloadcms/next/rsc'

/** @type import('payload').ImportMap */
export const importMap = {
  "@gaff/payload/client#RetryButton": RetryButton_116388da64b4530687567edcc304a588,
  "@payloadcms/next/rsc#CollectionCards": CollectionCards_f9c02e79a4aed9a3924487c0cd4cafb1
}
